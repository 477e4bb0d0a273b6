return {now, is_over and 1 or 0, row}
