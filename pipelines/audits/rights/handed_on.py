"""What a forgery has of the pristine rows that it names, held against those rows."""

import pandas as pd


def other_than(rows: pd.DataFrame, link: str, column: str, theirs: str) -> "pd.Series[bool]":
    """Return whether a row has something else in a column than the pristine row that it names, where that is here.

    Args:
        rows: all rows.
        link: the column that names the pristine row, `target_id` or `source_id`.
        column: whose value the row should have of it.
        theirs: the pristine row's own column.
    """
    pristine = rows[rows["manipulation"].isna()].drop_duplicates("record_id").set_index("record_id")[theirs]
    there = rows[link].map(pristine)
    return there.notna() & (there != rows[column])
