"""Prepares a table of CSV or Parquet files: reads the files, types the columns, writes the splits."""
