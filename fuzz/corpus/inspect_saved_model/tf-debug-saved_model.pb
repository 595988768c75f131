L
"serve*2.16.19

n0DebugNumericSummaryV2

n1DebugIdentityV2"ó
