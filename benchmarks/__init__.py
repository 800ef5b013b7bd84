"""Measurements that take longer than a test: `script/bench NAME`."""
