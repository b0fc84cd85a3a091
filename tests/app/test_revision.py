from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import exporter
from exporter.app.revision import STAMP, UNKNOWN, outdated_copy, revision

COMMIT = "0123456789abcdef0123456789abcdef01234567"
GIT = ("git", "-c", "user.name=x", "-c", "user.email=x@example.com")


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [*GIT, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def package(tmp_path: Path) -> Path:
    package = tmp_path / "exporter"
    package.mkdir()
    return package


@pytest.fixture
def checkout(package: Path) -> Path:
    """A package in a repository with a commit."""
    git(package.parent, "init", "--initial-branch=main")
    git(package.parent, "commit", "--allow-empty", "--message=first")
    return package


def test_the_stamp_of_a_build_names_the_commit(checkout: Path) -> None:
    (checkout / STAMP).write_text(f"{COMMIT}\n")
    assert revision(checkout) == COMMIT


def test_a_checkout_is_at_its_commit(checkout: Path) -> None:
    assert revision(checkout) == git(checkout, "rev-parse", "HEAD")


def test_a_checkout_with_packed_references_is_at_its_commit(checkout: Path) -> None:
    git(checkout, "pack-refs", "--all")
    assert revision(checkout) == git(checkout, "rev-parse", "HEAD")


def test_a_checkout_without_a_branch_is_at_its_commit(checkout: Path) -> None:
    git(checkout, "checkout", "--detach")
    assert revision(checkout) == git(checkout, "rev-parse", "HEAD")


def test_a_linked_work_tree_is_at_its_commit(checkout: Path, tmp_path: Path) -> None:
    git(checkout, "worktree", "add", str(tmp_path / "other"))
    git(tmp_path / "other", "commit", "--allow-empty", "--message=second")
    found = revision(tmp_path / "other" / "exporter")
    assert found == git(tmp_path / "other", "rev-parse", "HEAD")
    assert found != revision(checkout)


def test_the_commit_of_any_other_folder_is_unknown(package: Path) -> None:
    assert revision(package) == UNKNOWN


def test_the_commit_of_an_empty_repository_is_unknown(package: Path) -> None:
    git(package.parent, "init", "--initial-branch=main")
    (package.parent / ".git" / "packed-refs").touch()
    assert revision(package) == UNKNOWN


@pytest.mark.parametrize("content", [b"unknown", b"\xff"])
def test_a_stamp_without_a_commit_is_unknown(content: bytes, package: Path) -> None:
    (package / STAMP).write_bytes(content)
    assert revision(package) == UNKNOWN


def test_the_default_is_the_exporter() -> None:
    assert revision() == revision(Path(exporter.__file__).parent)


@pytest.fixture
def copied(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as ``pip install .`` copies it from the checkout."""
    copied = tmp_path_factory.mktemp("site-packages") / "exporter"
    copied.mkdir()
    (copied / STAMP).write_text(revision(checkout))
    described = copied.parent / "esim_exporter-0.1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text(
        "Metadata-Version: 2.4\nName: esim-exporter\nVersion: 0.1.0\n"
    )
    origin = {"dir_info": {}, "url": checkout.parent.as_uri()}
    (described / "direct_url.json").write_text(json.dumps(origin))
    return copied


def test_a_copy_of_the_present_commit_needs_nothing(copied: Path) -> None:
    assert outdated_copy(copied) == ""


def test_after_a_pull_a_copy_says_what_to_do(copied: Path, checkout: Path) -> None:
    git(checkout, "commit", "--allow-empty", "--message=second")
    cure = f"install it again: {sys.executable} -m pip install {checkout.parent}"
    assert outdated_copy(copied).endswith(cure)


def test_a_copy_does_not_ask_for_a_checkout_that_is_gone(copied: Path, checkout: Path) -> None:
    checkout.parent.rename(checkout.parent.with_name("elsewhere"))
    assert outdated_copy(copied) == ""


def test_what_comes_from_an_index_has_no_checkout(copied: Path) -> None:
    (copied.parent / "esim_exporter-0.1.0.dist-info" / "direct_url.json").unlink()
    assert outdated_copy(copied) == ""


def test_a_checkout_itself_is_no_copy(checkout: Path) -> None:
    git(checkout, "commit", "--allow-empty", "--message=second")
    assert outdated_copy(checkout) == ""
