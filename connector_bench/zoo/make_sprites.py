"""Make the committed cut-outs from unpacked npm packages; needed only to change the list of objects.

``python -m connector_bench.zoo.make_sprites 3D_PACKAGE FLAT_PACKAGE NAMES_PACKAGE`` reads
``assets/objects.json`` (category -> our name -> Unicode name) and writes
``assets/sprites/{3d,flat}/<name>.webp``, 72 x 72 RGBA, lossless. The three folders are the unpacked
``@lobehub/fluent-emoji-3d``, ``@lobehub/fluent-emoji-flat`` and ``unicode-emoji-json``. The flat drawings are
SVG, so ``resvg-py`` must be installed; no network is used.
"""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path

from PIL import Image

ASSETS = Path(__file__).parent / "assets"
SPRITE_SIZE = 72


def read_codepoints(names_package: Path) -> dict[str, str]:
    """Unicode name -> file stem such as ``1f34e``, from ``data-by-emoji.json``."""
    table = json.loads((names_package / "data-by-emoji.json").read_text(encoding="utf-8"))
    return {entry["name"]: "-".join(f"{ord(c):x}" for c in emoji) for emoji, entry in table.items()}


def find_drawing(package: Path, stem: str, suffix: str) -> Path:
    """Path of one drawing; the packages drop the variation selector ``fe0f`` from some names.

    Raises:
        FileNotFoundError: neither spelling is in the package.
    """
    candidates = [package / "assets" / f"{s}{suffix}" for s in (stem, stem.replace("-fe0f", ""))]
    for path in candidates:
        if path.is_file():
            return path
    raise FileNotFoundError(f"no drawing at {' or '.join(map(str, candidates))}")


def rasterise(path: Path) -> Image.Image:
    """A drawing as RGBA, whatever its format."""
    if path.suffix == ".svg":
        import resvg_py  # type: ignore[import-not-found, unused-ignore]

        png = bytes(resvg_py.svg_to_bytes(svg_path=str(path), width=288, height=288))
        return Image.open(io.BytesIO(png)).convert("RGBA")
    return Image.open(path).convert("RGBA")


def crop_and_fit(drawing: Image.Image) -> Image.Image:
    """Crop to the opaque pixels and fit into a transparent square of ``SPRITE_SIZE``, centred."""
    alpha = drawing.getchannel("A").point(lambda a: 255 if a > 32 else 0)
    drawing = drawing.crop(alpha.getbbox())
    scale = SPRITE_SIZE / max(drawing.size)
    fitted = drawing.resize([max(1, round(side * scale)) for side in drawing.size], Image.Resampling.LANCZOS)
    square = Image.new("RGBA", (SPRITE_SIZE, SPRITE_SIZE))
    square.paste(fitted, ((SPRITE_SIZE - fitted.width) // 2, (SPRITE_SIZE - fitted.height) // 2))
    return square


def main() -> None:
    """Read the command line and write every cut-out in both drawings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("package_3d", "package_flat", "package_names"):
        parser.add_argument(name, type=Path)
    arguments = parser.parse_args()
    codepoints = read_codepoints(arguments.package_names)
    objects = json.loads((ASSETS / "objects.json").read_text(encoding="utf-8"))
    for drawing, package, suffix in (
        ("3d", arguments.package_3d, ".webp"),
        ("flat", arguments.package_flat, ".svg"),
    ):
        folder = ASSETS / "sprites" / drawing
        folder.mkdir(parents=True, exist_ok=True)
        for name, unicode_name in (item for names in objects.values() for item in names.items()):
            source = find_drawing(package, codepoints[unicode_name], suffix)
            target = folder / f"{name.replace(' ', '_')}.webp"
            crop_and_fit(rasterise(source)).save(target, lossless=True, quality=100, method=6)


if __name__ == "__main__":
    main()
