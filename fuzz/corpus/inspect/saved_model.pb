	¿
"serve*2.16.1«

n0Placeholder

n1Const

n2MatMul


n3Relu

n4Identity


n5NoOpN
L

__inference_f_1
f0Const
f1AddV2
f2StatefulPartitionedCall"ó
