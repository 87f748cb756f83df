"""Sample data for an empty server: players, clans, generated maps and plays. A seed always gives the same data."""

from kiai.demo.world import DemoReport, DemoWorld, build

__all__ = ["DemoReport", "DemoWorld", "build"]
