// The process that holds a pod's namespaces open: every pod sandbox runs it.
module modelyard.dev/tests/cluster/pause

go 1.24.0
