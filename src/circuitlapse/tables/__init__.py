"""The tables: results of all jobs, collected and compared. No torch."""
