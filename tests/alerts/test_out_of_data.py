"""Who is told of which eSIM without data, and who is not, as the exporter's metrics make it."""

from __future__ import annotations

import pytest
from rule_story import (
    OF_FLEET,
    PACKAGE,
    Story,
    ended,
    high,
    of_package,
    page,
    report,
    ticket,
)
from running_fleet import RunningFleet

from exporter.exposition.families import InfoLabels
from exporter.mixin.value_groups import BandSeverities, SeverityValues, StormValues
from exporter.mixin.values import MixinValues

HOUR = 3600


def esims(*numbers: int) -> list[str]:
    return [f"e{number}" for number in range(*numbers)]


def out(story: Story, *esim_ids: str, package_id: str = PACKAGE, ago: int = 0) -> None:
    """Let eSIMs run out of data."""
    story.take(*(report(each, story.now - ago, 0, package_id) for each in esim_ids))


def test_an_esim_without_data_pages_at_the_next_evaluation_and_so_does_the_second() -> None:
    with Story() as story:
        story.take(report("a", story.now, 50), report("b", story.now, 50))
        story.run("5m")
        story.expect()
        out(story, "a")
        story.run("30s")
        story.expect(page("a"))
        story.run("10m")
        out(story, "b")
        story.run("30s")
        story.expect(page("a"), page("b"))


def test_a_top_up_ends_a_page_at_once_and_running_out_again_pages_again() -> None:
    with Story() as story:
        out(story, "a")
        story.run("5m")
        story.take(report("a", story.now, 30))
        story.run("30s")
        story.expect()
        out(story, "a")
        story.run("30s")
        story.expect(page("a"))


def test_of_two_packages_one_empty_is_shown_and_both_empty_page_for_the_last_one() -> None:
    with Story() as story:
        story.take(report("a", story.now, 0, "first"), report("a", story.now, 50, "second"))
        story.run("10m")
        story.expect(high("a", "first", "1"))
        out(story, "a", package_id="second")
        story.run("30s")
        # The other alert fires for a while longer, so that a restart does not end it.
        story.expect(page("a", "second"), high("a", "first", "1"))
        story.run("20m")
        story.expect(page("a", "second"))


def test_an_empty_package_may_be_made_a_page_for_as_long_as_it_is_news() -> None:
    severity = SeverityValues(data=BandSeverities(full="critical"))
    with Story(MixinValues(severity=severity)) as story:
        story.take(report("a", story.now, 0, "first"), report("a", story.now, 50, "second"))
        story.run("8h")
        story.expect(high("a", "first", "1", "critical"))
        story.run("80m")
        story.expect(high("a", "first", "0.9", "warning"))


def test_an_esim_that_ends_pages_nobody_any_longer() -> None:
    with Story() as story:
        out(story, "a", "b")
        story.run("5m")
        story.take(ended("a", story.now))
        story.run("30s")
        story.expect(page("b"))


def test_a_page_becomes_a_ticket_when_it_is_no_longer_news() -> None:
    with Story() as story:
        out(story, "a")
        story.run("9h")
        story.expect(page("a"))
        story.run("1m")
        story.expect()
        story.run("2m")
        story.expect(ticket("a"))


def test_more_reports_do_not_make_an_old_exhaustion_news() -> None:
    """The exporter keeps 17 reports, so the time it shows moves on."""
    with Story() as story:
        for _ in range(29):
            out(story, "a")
            story.run("20m")
        story.expect(ticket("a"))


def test_a_vendor_whose_clock_is_hours_behind_still_pages() -> None:
    with Story(start="10h") as story:
        out(story, "a", ago=8 * HOUR)
        out(story, "old", ago=9 * HOUR + 60)
        story.run("5m")
        story.expect(page("a"), ticket("old"))


@pytest.mark.parametrize("zone", ["", ',zone="{}"'], ids=["alike", "in zones"])
def test_replicas_make_one_page_and_a_restart_of_one_changes_nothing(zone: str) -> None:
    one, other = (f'instance="{each}"' + zone.format(each) for each in "ab")
    with Story(targets={one: RunningFleet(), other: RunningFleet()}) as story:
        story.take(report("a", story.now, 0), targets=[one])
        story.run("30s")
        story.expect(page("a"))
        story.take(report("a", story.now, 0), targets=[other])
        story.run("5m")
        story.expect(page("a"))
        story.run("3m", down=[one])
        story.expect(page("a"))
        story.take(report("a", story.now, 10))
        story.run("30s")
        story.expect()


def test_installations_that_a_label_tells_apart_have_pages_of_their_own() -> None:
    targets = {f'instance="{each}",region="{each}"': RunningFleet() for each in "ab"}
    with Story(MixinValues(target_labels=("region",)), targets) as story:
        out(story, "a")
        story.run("1m")
        story.expect(page("a"), page("a"))


def test_a_restart_of_the_exporter_neither_ends_a_page_nor_makes_one() -> None:
    with Story() as story:
        out(story, "a", "b")
        story.run("65m")
        everything = list(story.targets)
        story.run("10m", down=everything)
        story.expect(page("a"), page("b"))
        story.take(report("b", story.now, 50), report("c", story.now, 0))
        story.run("30s", down=everything)
        story.expect(page("a"), page("b"))
        story.run("30s")
        story.expect(page("a"), page("c"))


def test_a_restart_in_a_storm_or_after_it_pages_for_none_of_its_esims() -> None:
    with Story() as story:
        out(story, *esims(12))
        for wait in ("5m", "1h", "2h"):
            story.run(wait)
            story.run("3m", down=list(story.targets))
            story.run("1m")
            story.expect(*([of_package()] if wait == "5m" else []))


def test_a_shard_that_shows_nothing_keeps_its_pages_and_the_others_go_on() -> None:
    shards = {f'instance="{n}",shard="{n}"': RunningFleet() for n in range(2)}
    one, other = shards
    with Story(targets=shards) as story:
        story.extra = "esim_exporter_total_shards 2\n"
        story.take(report("a", story.now, 0), targets=[one])
        story.take(report("b", story.now, 0), targets=[other])
        story.run("5m")
        story.expect(page("a"), page("b"))
        story.take(report("b", story.now, 50), report("c", story.now, 0), targets=[other])
        story.run("5m", down=[one])
        # Whether b moved to the missing shard is not known before that is back.
        story.expect(page("a"), page("b"), page("c"))
        story.run("1m")
        story.expect(page("a"), page("c"))


def test_an_exporter_that_is_gone_for_good_is_forgotten() -> None:
    with Story() as story:
        out(story, "a")
        story.run("1h")
        story.run("24h", down=list(story.targets))
        story.run("1h", down=list(story.targets))
        story.expect()


def test_ten_esims_of_a_package_within_an_hour_are_one_page() -> None:
    with Story() as story:
        out(story, *esims(9))
        out(story, "x", package_id="another")
        story.run("30s")
        story.expect(*map(page, esims(9)), page("x", "another"))
        out(story, "e9")
        story.run("30s")
        story.expect(of_package(), page("x", "another"))
        out(story, *esims(10, 15))
        story.run("30m")
        story.expect(of_package(), page("x", "another"))


def test_an_esim_that_was_told_of_before_many_keeps_its_page() -> None:
    with Story() as story:
        out(story, *esims(5))
        story.run("2m")
        out(story, *esims(5, 10))
        story.run("1m")
        story.expect(of_package(), *map(page, esims(5)))


def test_twenty_esims_of_many_packages_are_one_page_about_the_fleet() -> None:
    with Story() as story:
        for number in range(19):
            out(story, f"e{number}", package_id=f"p{number}")
        story.run("1m")
        story.expect(*(page(f"e{number}", f"p{number}") for number in range(19)))
        out(story, "last", package_id="another")
        story.run("30s")
        story.expect(OF_FLEET)


def test_when_a_storm_is_over_its_esims_do_not_page_one_by_one_and_the_next_one_does() -> None:
    with Story(MixinValues(storm=StormValues(package_esims=3, fleet_esims=5))) as story:
        out(story, *esims(5))
        story.run("1h")
        story.expect(of_package(), OF_FLEET)
        story.run("6m")
        story.expect()
        out(story, "next")
        story.run("61m")
        story.expect(page("next"))
        out(story, *esims(5, 8))
        story.run("30s")
        story.expect(of_package(), page("next"))
        story.run("7h")
        story.expect(page("next"), *map(ticket, esims(5)))


def test_a_storm_that_lasts_for_a_moment_is_told_of_because_its_last_esim_has_no_other_page() -> (
    None
):
    """Alertmanager tells of a new alert within ``routing.storms.group_interval``."""
    with Story(MixinValues(storm=StormValues(package_esims=3, fleet_esims=4))) as story:
        out(story, "a", "b")
        story.run("30m")
        out(story, "other", package_id="another")
        story.run("29m")
        out(story, "last")
        story.run("30s")
        told = [page("a"), page("b"), page("other", "another")]
        story.expect(of_package(), OF_FLEET, *told)
        story.run("1m")
        story.expect(of_package(), OF_FLEET, *told)
        story.run("1m30s")
        story.expect(*told)


def test_storms_of_a_few_packages_are_a_page_each_and_those_of_more_are_one_page() -> None:
    with Story(MixinValues(storm=StormValues(package_esims=2, fleet_esims=4, packages=2))) as story:
        out(story, *esims(0, 5))
        story.run("30s")
        story.expect(of_package(), OF_FLEET)
        out(story, *esims(5, 8), package_id="second")
        story.run("30s")
        story.expect(of_package(), of_package("second"), OF_FLEET)
        out(story, *esims(8, 11), package_id="third")
        story.run("3m")
        story.expect(OF_FLEET)


def test_an_esim_keeps_the_package_with_which_it_ran_out() -> None:
    """With two empty packages, the one that ran out last changes with the reports that are kept."""
    with Story() as story:
        for _ in range(20):
            out(story, "a", package_id="first")
            story.run("2m")
            out(story, "a", package_id="second")
            story.run("2m")
        story.expect(page("a", "first"))


def test_an_esim_of_a_storm_that_runs_out_again_after_a_top_up_pages() -> None:
    with Story() as story:
        out(story, *esims(12))
        story.run("2h")
        story.expect()
        story.take(report("e0", story.now, 50))
        story.run("5m")
        out(story, "e0")
        story.run("30s")
        story.expect(page("e0"))


def test_rules_that_remember_nothing_page_once_about_what_they_find() -> None:
    """So it is after a gap in Prometheus, and when the rules are loaded for the first time."""
    with Story(start="12h") as story:
        out(story, *esims(25), ago=3 * HOUR)
        out(story, "old", ago=10 * HOUR)
        story.run("5m")
        story.expect(of_package(), OF_FLEET, ticket("old"))


SINCE = (
    "of roamify has had no data left since 1970-01-01 00:01:00 +0000 UTC. Package p ran out last."
)


def test_a_page_names_the_reference_that_people_know_also_after_a_restart() -> None:
    replicas = {f'instance="{each}"': RunningFleet() for each in "ab"}
    with Story(targets=replicas) as story:
        out(story, "a")
        story.run("1m")
        story.expect_text("a", f"eSIM a (reference ref-a) {SINCE}")
        story.run("3m", down=list(replicas))
        story.expect_text("a", f"eSIM a (reference ref-a) {SINCE}")


@pytest.mark.parametrize("identity", [InfoLabels(()), InfoLabels(("iccid",))], ids=str)
def test_a_page_leaves_out_a_reference_that_is_no_label(identity: InfoLabels) -> None:
    with Story(targets={'instance="a"': RunningFleet(identity=identity)}) as story:
        out(story, "a")
        story.run("1m")
        story.expect_text("a", f"eSIM a {SINCE}")


def test_a_silent_feed_ends_no_page_and_makes_none() -> None:
    with Story() as story:
        out(story, "a")
        story.take(report("b", story.now, 20))
        story.run("8h")
        story.expect(page("a"), high("b", PACKAGE, "0.75"))
