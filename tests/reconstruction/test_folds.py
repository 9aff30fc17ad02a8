from collections import Counter

import pytest

from connector_bench.reconstruction.folds import FOLDS, Ledger, fold_of, image_key, unit_keys


def test_hashes_are_the_same_on_every_machine() -> None:
    assert image_key("coco/000000391895") == 11056141069152528059
    assert unit_keys("a", 2).tolist() == [4192132519135618423, 5914708556773729588]
    assert image_key("a") == image_key("a") != image_key("b")
    assert unit_keys("a", 4).tolist()[:2] == unit_keys("a", 2).tolist()
    assert len(set(unit_keys("a", 1000).tolist()) | set(unit_keys("b", 1000).tolist())) == 2000


def test_folds_are_nested_shares_of_the_images() -> None:
    folds = Counter(fold_of(f"image-{number}", 0.1) for number in range(20_000))
    expected = {"validation": 2000, "quarter": 4500, "half": 4500, "full": 9000}
    assert set(folds) == set(FOLDS)
    assert all(abs(folds[fold] - count) < 4 * count**0.5 for fold, count in expected.items())


def test_a_name_that_is_empty_is_refused() -> None:
    with pytest.raises(ValueError, match="not empty"):
        image_key("")


def test_ledgers() -> None:
    ledger = Ledger.of(["a", "b"])
    assert "a" in ledger
    assert not ledger.add("a")
    assert ledger.add("c")
    assert Ledger.from_array(ledger.array()).fingerprint() == Ledger.of(["c", "b", "a"]).fingerprint()
    with pytest.raises(ValueError, match="seen by both"):
        ledger + Ledger.of(["b"])
