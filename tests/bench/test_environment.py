"""What differs between the environment of a record and this machine."""

from unlearnbench.bench.environment import describe_difference, describe_environment, differing


def test_what_may_give_other_bits_is_named() -> None:
    here = describe_environment("cpu", 1)
    there = here | {"threads": 2, "packages": here["packages"] | {"torch": "1.0"}, "python": "3.0"}
    assert differing(there, here) == ["threads", "packages"]
    said = describe_difference(there, here)
    assert (
        said == f"threads is 2 there and 1 here, torch is '1.0' there and {here['packages']['torch']!r} here"
    )
    assert "device_name is None there" in describe_difference({"device": "cpu", "packages": 7}, here)
    assert describe_difference(here, here) == "device, threads and packages are the record's"
