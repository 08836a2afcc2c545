"""What clients report of answers: which label was right. Read, checked against what was answered, and kept."""
