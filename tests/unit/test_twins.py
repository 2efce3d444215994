"""The blocking and the awaited face say the same: written by hand, so that editors follow them, and compared here."""

from __future__ import annotations

import ast
import inspect
from typing import get_type_hints

import pytest
from coatcheck import (
    ArtifactReader,
    ArtifactStore,
    AsyncArtifactReader,
    AsyncArtifactStore,
    AsyncFileArtifactStore,
    AsyncInMemoryArtifactStore,
    AsyncRedisArtifactStore,
    AsyncRun,
    BackendStore,
    FileArtifactStore,
    InMemoryArtifactStore,
    RedisArtifactStore,
    RedisOptions,
    Run,
    aopen_store,
    open_store,
)
from coatcheck.arguments import StoreKeywords, check_details
from coatcheck.backends.redis import RedisKeywords
from coatcheck.plan import arun, run
from coatcheck.trees import AsyncTree, Tree, aopen_run, aopen_tree, open_run, open_tree

TWINS = [
    (BackendStore, AsyncArtifactStore),
    (InMemoryArtifactStore, AsyncInMemoryArtifactStore),
    (FileArtifactStore, AsyncFileArtifactStore),
    (RedisArtifactStore, AsyncRedisArtifactStore),
    (Tree, AsyncTree),
]
AWAITED = {"arun": "run", "AsyncIterator": "Iterator", "__aenter__": "__enter__", "__aexit__": "__exit__"}
FROM_THE_CONTRACT = ["store_text", "store_json", "load_text", "load_json", "__enter__", "__exit__"]
PUBLIC = [name for name in vars(ArtifactStore) if inspect.isfunction(vars(ArtifactStore)[name]) and name[0] != "_"]


def blocking(name: str) -> str:
    """What something of the awaited face is called on the blocking one."""
    return AWAITED.get(name, name.removeprefix("Async"))


class WithoutAwait(ast.NodeTransformer):
    """Takes `async`, `await` and docstrings out."""

    def visit_FunctionDef(self, node):
        self.generic_visit(node)
        body = node.body[1:] if ast.get_docstring(node) else node.body
        return ast.FunctionDef(blocking(node.name), node.args, body, node.decorator_list, node.returns)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Await(self, node):
        return self.visit(node.value)

    def visit_Name(self, node):
        return ast.Name(blocking(node.id), node.ctx)

    def visit_Attribute(self, node):
        return ast.Attribute(self.visit(node.value), blocking(node.attr), node.ctx)


def source(function) -> str:
    """Its source, as the blocking face would write it."""
    [definition] = WithoutAwait().visit(ast.parse(inspect.getsource(function))).body
    return ast.unparse(ast.fix_missing_locations(definition))


def methods(class_: type) -> dict[str, str]:
    """The source of each method, as the blocking face would write it."""
    [definition] = ast.parse(inspect.getsource(class_)).body
    plain = ast.fix_missing_locations(WithoutAwait().visit(definition))
    return {node.name: ast.unparse(node) for node in plain.body if isinstance(node, ast.FunctionDef)}


def names(function) -> str:
    """What a function takes and returns, named as on the blocking face."""
    return str(inspect.signature(function)).replace("Async", "").replace("asyncio.", "")


@pytest.mark.parametrize(("store", "awaited"), TWINS)
def test_a_store_that_blocks_is_the_awaited_one_without_await(store, awaited) -> None:
    expected = methods(store)
    if store is BackendStore:
        contract = methods(ArtifactStore)
        expected |= {name: contract[name] for name in FROM_THE_CONTRACT}
    expected.pop("_begin", None)  # a call, which an awaited store cannot make while it is being made
    assert methods(awaited) == expected


@pytest.mark.parametrize("name", PUBLIC)
def test_both_faces_take_and_return_what_the_contract_says(name) -> None:
    said = inspect.signature(getattr(ArtifactStore, name))
    for store in (BackendStore, AsyncArtifactStore):
        taken = inspect.signature(getattr(store, name))
        assert {p.name: (p.kind, p.default) for p in taken.parameters.values()} == {
            p.name: (p.kind, p.default) for p in said.parameters.values()
        }
        assert taken.return_annotation.replace("Async", "") == said.return_annotation


@pytest.mark.parametrize(
    ("contract", "awaited"), [(ArtifactStore, AsyncArtifactStore), (ArtifactReader, AsyncArtifactReader)]
)
def test_help_says_on_the_awaited_face_what_it_says_on_the_other(contract, awaited) -> None:
    for name, method in vars(awaited).items():
        if name[0] != "_" and inspect.isfunction(method) and hasattr(contract, name):
            said, explanation = (inspect.getdoc(getattr(one, name)) for one in (awaited, contract))
            summary, _, rest = explanation.partition("\n\nArgs:\n")
            assert said.startswith(summary) and said.endswith(rest), name


def test_what_the_awaited_face_adds_stands_before_the_sections() -> None:
    said = inspect.getdoc(AsyncArtifactStore.store_file)
    assert said.index("async iterable of bytes") < said.index("Args:")
    assert inspect.getdoc(AsyncArtifactReader.seek).endswith("\n\nNothing is awaited.")


@pytest.mark.parametrize("twins", [*TWINS, (open_store, aopen_store), (open_tree, aopen_tree), (open_run, aopen_run)])
def test_twins_are_made_with_the_same_arguments(twins) -> None:
    one, other = map(names, twins)
    assert one == other


@pytest.mark.parametrize("make", [RedisArtifactStore, AsyncRedisArtifactStore, open_store, aopen_store])
def test_what_makes_redis_stores_takes_every_option_with_its_default(make) -> None:
    taken = inspect.signature(make).parameters
    for option in inspect.signature(RedisOptions).parameters.values():
        assert taken[option.name].default in (option.default, None)
        assert taken[option.name].kind is option.kind


def test_type_checkers_know_the_same_options_as_the_store() -> None:
    assert {**get_type_hints(RedisKeywords), "namespace": str} == get_type_hints(RedisOptions)


def test_type_checkers_know_the_same_keywords_of_store_as_the_check() -> None:
    checked = get_type_hints(check_details)
    assert get_type_hints(StoreKeywords).items() <= checked.items()
    assert checked.keys() - get_type_hints(StoreKeywords).keys() == {
        "content_type",
        "default_ttl_ms",
        "return",
        "unknown",
    }


def test_the_two_drivers_are_twins() -> None:
    assert source(arun) == source(run)
