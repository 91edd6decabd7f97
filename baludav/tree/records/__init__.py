"""What the index holds, table by table: functions that take a connection and touch nothing else."""
