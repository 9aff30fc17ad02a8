'use strict';
window.addEventListener('beforeprint', () => document.querySelectorAll('details').forEach(one => { one.open = true; }));
const text = node => node.textContent.trim();

for (const table of document.querySelectorAll('table.sortable')) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  const key = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.sort === undefined ? text(cell) : Number(cell.dataset.sort);
  };
  const compare = (a, b) => {
    if (typeof a === typeof b) return typeof a === 'number' ? a - b : a.localeCompare(b);
    return typeof a === 'number' ? -1 : 1;
  };
  heads.forEach((head, column) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener('click', () => {
      const down = head.getAttribute('aria-sort') === 'ascending';
      heads.forEach(other => other.removeAttribute('aria-sort'));
      head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
      const rows = [...body.rows].sort((a, b) => compare(key(a, column), key(b, column)));
      body.append(...(down ? rows.reverse() : rows));
    });
  });
}

for (const gallery of document.querySelectorAll('.gallery')) {
  const form = gallery.querySelector('form'), list = gallery.querySelector('.cards');
  const chosen = [...list.children], count = form.querySelector('output');
  const all = gallery.querySelector('button.all'), few = 6;
  all.hidden = chosen.length <= few;
  const words = new Map(chosen.map(card => [card, card.textContent.toLowerCase()]));
  const has = (card, key, value) => value === '' || card.dataset[key].split('|').includes(value);
  const ordered = (key, way) => [...chosen].sort((a, b) => {
    const [x, y] = [a, b].map(card => Number(card.dataset[key] ?? NaN));
    if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
    return way === 'lowest' ? x - y : y - x;
  });
  const arrange = () => {
    const [key, way] = form.sort.value.split(' ');
    const outcome = form.outcome ? form.outcome.value : '', find = form.find.value.toLowerCase();
    const most = all.hidden ? chosen.length : few;
    let shown = 0;
    const sorted = ordered(key, way);
    for (const card of sorted) {
      card.hidden = shown === most || !(has(card, 'groups', form.group.value) && has(card, 'outcomes', outcome) &&
        words.get(card).includes(find));
      shown += !card.hidden;
    }
    list.append(...sorted);
    count.textContent = `${shown} of ${chosen.length} pictures`;
  };
  all.addEventListener('click', () => {
    all.hidden = true;
    arrange();
    (list.querySelectorAll('.card:not([hidden]) summary')[few] ?? form.sort).focus();
  });
  window.addEventListener('beforeprint', () => {
    all.hidden = true;
    arrange();
  });
  form.addEventListener('input', arrange);
  form.addEventListener('submit', event => event.preventDefault());
  arrange();
}
