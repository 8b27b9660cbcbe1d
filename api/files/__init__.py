"""What faces share that send files: ranges, conditions, dates, and the errors of both."""
