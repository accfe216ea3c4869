"""Suites that tests of several processes share."""

TWO_TASKS = """
name = "two"
tasks = ["classes/cat-face@tiny", "celebrities/santa-claus@tiny"]
[sizes]
forget = 3
forget_samples = 1
retain_same = 2
retain_other = 2
retain_given = 2
indirect = 0
[[methods]]
name = "none"
[[methods]]
name = "placebo"
config = { steps = 1, checkpoints = [1], norm = 0.01 }
"""
"""Two tasks and two methods in the tiny world, in seconds."""
