package cgroup

// scopeVariable lets a process of these tests ask for a scope.
const scopeVariable = "PENSTOCK_CGROUP_SCOPE"
