"""The tests mirror the rooms of dcz/: what tests a module lies in the folder of its name."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
