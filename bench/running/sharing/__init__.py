"""One run by many processes, on one machine or several: leases on parts of the work."""
