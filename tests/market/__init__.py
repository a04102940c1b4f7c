"""Tests of what AWS says of a region's markets."""
