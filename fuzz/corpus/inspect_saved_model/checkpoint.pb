°
"serve*2.16.1œ

n0VarHandleOp

n1ReadVariableOp

n2SaveV2

n3	RestoreV2

n4MergeV2Checkpoints

n5ShardedFilename

n6
StringJoin


n7Pack"ó
