"""Studies: a grid becomes cells, a cell becomes one Parquet file; finished cells are never computed again."""
