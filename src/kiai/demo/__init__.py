"""A made-up world for an empty server: players, maps composed here, and their plays. The same seed, the same world."""

from kiai.demo.world import DemoReport, DemoWorld, build

__all__ = ["DemoReport", "DemoWorld", "build"]
