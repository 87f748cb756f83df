"""Static files under hashed names, and the references between them."""

import pytest

from kiai.faces.site.assets import Assets, named_by_hash


def test_stylesheets_are_one_file_in_the_order_of_their_names() -> None:
    assets = named_by_hash({"css/20-b.css": b"b{}", "css/10-a.css": b"a{}"})

    assert assets["site.css"].content == b"a{}\nb{}"
    assert "css/10-a.css" not in assets


def test_references_are_the_paths_with_the_hashes() -> None:
    assets = named_by_hash(
        {
            "js/a.js": b'import { b } from "./b.js"; const c = () => import("../vendor/c.js"); import"./d.js";',
            "js/b.js": b"b",
            "vendor/c.js": b"c",
            "js/d.js": b"d",
            "css/a.css": b"a{src:url(../fonts/f.woff2)}",
            "fonts/f.woff2": b"f",
        }
    )

    b, c, d = (assets[name].path for name in ("js/b.js", "vendor/c.js", "js/d.js"))
    assert assets["js/a.js"].content.decode() == (
        f'import {{ b }} from "{b}"; const c = () => import("{c}"); import"{d}";'
    )
    assert assets["site.css"].content.decode() == f"a{{src:url({assets['fonts/f.woff2'].path})}}"


def test_a_changed_file_also_renames_the_files_that_import_it() -> None:
    before, after = (
        named_by_hash({"js/a.js": b'import "./b.js";', "js/b.js": b'import "./c.js";', "js/c.js": content})
        for content in (b"1", b"2")
    )

    assert before["js/a.js"].path != after["js/a.js"].path


def test_a_reference_to_a_missing_file_or_in_a_circle_fails() -> None:
    with pytest.raises(KeyError):
        named_by_hash({"js/a.js": b'import "./b.js";'})
    with pytest.raises(RecursionError):
        named_by_hash({"js/a.js": b'import "./b.js";', "js/b.js": b'import "./a.js";'})


def test_the_files_of_the_package_refer_to_files_that_exist() -> None:
    assets = Assets()

    assert assets.has("site.css")
    assert assets.find(assets.path("js/site.js")) is not None
    assert not assets.has("vendor/checksums.txt")
    assert not assets.has("vendor/uplot/uPlot.d.ts")


def test_a_first_visit_is_within_its_budget() -> None:
    import brotli

    assets = Assets()

    def size(*names: str) -> int:
        found = [assets.find(assets.path(name)) for name in names]
        return sum(
            len(asset.content if "font" in asset.content_type else brotli.compress(asset.content))
            for asset in found
            if asset
        )

    scripts = [name for name in assets.names() if name.startswith(("js/", "vendor/uplot/"))]
    assert size("site.css") <= 30 * 1024
    assert size(*scripts) <= 60 * 1024
    assert size("vendor/fonts/sora-latin.woff2", "vendor/fonts/figtree-latin.woff2") <= 60 * 1024
