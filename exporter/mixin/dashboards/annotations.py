"""Annotations: vertical lines in all graphs over time."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import dashboard as builders

from exporter.mixin.dashboards import palette, variables

_STARTS: Final = """max by (job, instance, version) (
    process_start_time_seconds{@exporter}
    * on (job, instance) group_left (version) esim_exporter_build_info{@exporter})"""


def restarts() -> builders.AnnotationQuery:
    """Return a line at each start of a process."""
    return _at_times(
        "Restarts", palette.WARNING, _STARTS, "Restart of {{instance}}", "version {{version}}"
    )


def versions() -> builders.AnnotationQuery:
    """Return a line at the first start of a version that did not run an hour before."""
    earlier = "last_over_time(esim_exporter_build_info{@exporter}[1d] offset 1h)"
    return _at_times(
        "Versions",
        palette.NEUTRAL,
        f"min by (version) ({_STARTS}) unless on (version) {earlier}",
        "Version {{version}}",
        "started for the first time",
    )


def _at_times(
    name: str, colour: str, times: str, title: str, text: str
) -> builders.AnnotationQuery:
    """Return lines at the values of an expression, unix seconds."""
    return (
        builders.AnnotationQuery()
        .name(name)
        .datasource(variables.DATASOURCE)
        .enable(True)  # noqa: FBT003  # the SDK's own signatures, here and below
        .icon_color(colour)
        .expr(variables.expression(f"1000 * ({times})"))
        .use_value_for_time(True)  # noqa: FBT003  # the SDK takes it by position
        .step("60s")
        .title_format(title)
        .text_format(text)
    )
