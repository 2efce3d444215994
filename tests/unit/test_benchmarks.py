"""The benchmarks' own arithmetic and reports, without a server: figures that are published had better be right."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.measure import Effort, Spent, Spread, Timing, Trial, alternate
from benchmarks.page import as_markdown, replace_part
from benchmarks.results import Left, Load, Point, Results, Row
from benchmarks.summary import summary
from benchmarks.sampling import Place, Sampler, group, per_call

ABOUT = {
    "server": "Valkey 9.1",
    "transport": "unix socket",
    "python": "3.13",
    "redis-py": "8.1",
    "cores": 2,
    "cpu": "a CPU",
}


PARTS = ["store", "load", "memory", "concurrency", "growth", "huge"]


def timing(name: str, *wall: float) -> Timing:
    return Timing(name, 1, list(wall), [seconds / 2 for seconds in wall])


def results() -> Results:
    floor, ours, peer = timing("floor", 1, 2, 4), timing("coatcheck", 2, 2, 2), timing("peer", 3, 3, 4)
    found = [
        Row("store it", [floor, ours], "≤ 1.0", 1.0, fact="40 bytes went over the wire", part="store"),
        Row("load it", [floor, ours, peer], part="load"),
        Row("memory of it", sizes={"coatcheck": 648.0, "peer": 3 * 2**20}, part="memory"),
        Load("store 1 KiB", "threads", "unix socket", 8, [floor, ours], part="concurrency"),
        Point("artifacts", 1000, "store", [floor, ours], part="growth"),
        Point("artifacts", 1000, "memory", size=700.0, part="growth"),
        Left("needs 9 GiB", failed=True, part="huge"),
    ]
    return Results(dict(ABOUT), found, dict.fromkeys(PARTS, "Quick run"))


def test_a_ratio_compares_each_round_with_itself():
    assert timing("ours", 2, 2, 2).ratios(timing("floor", 1, 2, 4)) == Spread(0.5, 1.0, 2.0)
    assert timing("ours", 2, 2, 2).cpu_ratios(timing("floor", 1, 2, 4)) == Spread(0.5, 1.0, 2.0)


def test_candidates_take_turns_and_the_first_round_is_not_counted():
    order = []

    def trial(name: str) -> Trial:
        def run(ops: int) -> Spent:
            order.append(name)
            return Spent(ops * {"a": 1.0, "b": 3.0}[name], ops * 2.0)

        return Trial(name, prepare=lambda ops: ops, run=run)

    a, b = alternate([trial("a"), trial("b")], 10, Effort(rounds=3, seconds=float("inf")))
    assert order == ["b", "b", *"ba", *"ab", *"ba", *"ab"]  # b is tried out twice, and whoever begins changes
    assert (a.wall, b.wall, b.cpu) == ([1.0] * 3, [3.0] * 3, [2.0] * 3)


def test_a_candidate_that_returns_other_bytes_ends_the_row():
    def refuse(*_: object) -> None:
        raise AssertionError("other bytes")

    floor, liar = (Trial("floor", lambda ops: ops, lambda _: None), Trial("liar", int, lambda _: None, check=refuse))
    with pytest.raises(AssertionError, match="other bytes"):
        alternate([floor, liar], 10, Effort(rounds=3, seconds=1.0))


def test_results_survive_their_file(tmp_path: Path):
    results().save(tmp_path / "results.json")
    assert Results.load(tmp_path / "results.json") == results()


def test_parts_of_an_earlier_run_are_kept_where_this_one_has_none():
    again = Results(dict(ABOUT), [Row("store it anew", part="store")], {"store": "Full run"})
    again.keep(results(), PARTS)
    assert [one.title for one in again.found] == ["store it anew", *(one.title for one in results().found[1:])]
    assert f"Full run: store. Quick run: {', '.join(PARTS[1:])}." in as_markdown(again)


def test_results_come_in_the_order_of_the_parts():
    found = results()
    found.keep(Results(dict(ABOUT)), PARTS[::-1])
    assert [one.part for one in found.found][-1] == "store"


def test_runs_on_different_machines_are_not_mixed():
    other = results()
    other.about["cores"] = 64
    with pytest.raises(ValueError, match="another cores"):
        results().keep(other, PARTS)


def test_throughput_counts_all_clients_and_higher_is_better():
    [load] = results().of(Load)
    assert load.per_second(load.timings[1]) == 4.0
    assert load.throughput_ratio() == Spread(0.5, 1.0, 2.0)


def test_tables_show_what_was_measured_and_say_what_was_not():
    lines = as_markdown(results(), ["plots/ratios.png"]).splitlines()
    assert "| store it | ≤ 1.0 | 1.00 (0.50 to 2.00) | – |" in lines
    assert "| load it | – | 1.00 (0.50 to 2.00) | 1.50 (1.00 to 3.00) |" in lines
    assert "| memory of it | – | 648 B | 3 MiB |" in lines
    assert "| store 1 KiB | unix socket | threads | 1.00 (0.50 to 2.00), 4/s |" in lines
    assert "- store it: 40 bytes went over the wire." in lines
    assert "![ratios](plots/ratios.png)" in lines
    assert "- huge: needs 9 GiB" in lines


def test_the_first_screen_says_who_is_ahead():
    floor, ours = timing("floor", 1e-4, 1e-4, 1e-4), timing("coatcheck", 2e-4, 2e-4, 2e-4)
    rows = [
        Row("store it", [floor, ours, timing("ProxyStore 1.1.0", 1e-4, 1e-4, 1e-4)], "≤ 1.0", part="store-1k"),
        Row("load it", [floor, ours, timing("ProxyStore 1.1.0", 3e-4, 3e-4, 3e-4)], part="load-1k"),
        Row("memory", sizes={"coatcheck": 602.0}, part="server-memory"),
        Row("something else", [floor, ours], part="else"),
    ]
    lines = summary(Results(dict(ABOUT), rows, {}), "plots/ratios.png").splitlines()
    assert "- stores 1 KiB in 200 µs (100 µs of CPU)" in lines
    assert "- keeps 1 KiB with 602 B of server memory besides" in lines
    assert "| work | goal | coatcheck (SHA-256) | coatcheck (checksum) | ProxyStore 1.1.0 (nothing) |" in lines
    assert "| store it | ≤ 1.0 | 2.00 | – | 1.00 |" in lines
    assert "- ProxyStore 1.1.0: store it" in lines
    assert not any("something else" in line for line in lines)


def test_only_the_marked_part_of_a_page_is_written(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text("above\n<!-- table: begin -->\nold\n<!-- table: end -->\nbelow\n")
    replace_part(page, "table", "new")
    replace_part(page, "table", "newer")
    assert page.read_text() == "above\n<!-- table: begin -->\n\nnewer\n\n<!-- table: end -->\nbelow\n"


@pytest.mark.parametrize("text", ["", "<!-- table: begin -->", "<!-- table: end -->\n<!-- table: begin -->"])
def test_a_page_without_that_part_is_left_alone(tmp_path: Path, text: str):
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(ValueError, match="needs one line"):
        replace_part(page, "table", "new")
    assert page.read_text() == text


def test_samples_become_time_by_layer():
    counts = {
        Place("redis.connection", "send"): 30,
        Place("redis.client", "get"): 50,
        Place("coatcheck.room.file", "f"): 15,
        Place("coatcheck.new", "f"): 5,
    }
    sampled = Sampler()
    sampled.counts.update(counts)
    times = per_call(sampled.counts, calls=1000, seconds=0.1)
    assert group(
        times, [("send", ["redis.connection:send"]), ("redis-py", ["redis."]), ("room", ["coatcheck.room."])]
    ) == (pytest.approx({"redis-py": 50.0, "send": 30.0, "room": 15.0, "coatcheck.new": 5.0}))
