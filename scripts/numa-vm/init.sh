#!/bin/busybox sh
# The first process of the virtual machine of numa-vm-test.sh. Runs the engine and looks at it from outside, prints what it
# finds, and switches the machine off.
/bin/busybox --install -s /bin
export PATH=/bin HOME=/tmp
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
exec 2>&1

failures=0
check() { # WHAT COMMAND...
    what=$1
    shift
    if "$@"; then echo "ok      $what"; else echo "FAILED  $what"; failures=$((failures + 1)); fi
}

# Values of a key in JSON, one in a line.
values() { grep -o "\"$1\":[^,}]*" "$2" | cut -d: -f2; }
is() { [ "$1" = "$2" ]; }
all_local() { # FILE KEY COUNT: so many shares, all at least 0.95
    values "$2" "$1" | awk -v n="$3" '{ if ($1 == "null" || $1 < 0.95) bad = 1; seen++ } END { exit !(seen == n && !bad) }'
}

echo "== the machine"
for node in 0 1; do
    echo "node $node: CPUs $(cat /sys/devices/system/node/node$node/cpulist), $(awk '/MemTotal/ { print $4 }' /sys/devices/system/node/node$node/meminfo) kB"
done

echo "== llama-concurrent topology -m demo.gguf"
llama-concurrent topology -m /demo.gguf
llama-concurrent topology -m /demo.gguf --json > /tmp/topology.json
check "the plan has two workers" is "$(values one_core_each /tmp/topology.json | wc -l)" 2
check "with a copy of the weights each" is "$(values weight_copies /tmp/topology.json)" 2
check "on CPUs 0-1 and 2-3" grep -q '"cpus":\[0,1\],"threads":2.*"cpus":\[2,3\],"threads":2' /tmp/topology.json

echo "== llama-concurrent run, 8 prompts on 4 slots"
i=0
while [ $i -lt 8 ]; do
    echo "Once upon a time there was a number $i and a small boat"
    i=$((i + 1))
done > /tmp/prompts
# run OPTIONS...: into /tmp/out, with a look at its threads and its memory from outside while it works.
run() {
    rm -f /tmp/out /tmp/threads /tmp/maps # what the last run left would be taken for the answers of this one
    llama-concurrent run -m /demo.gguf --prompts-file /tmp/prompts --slots 4 --temp 0 --max-tokens 32 --json --stats "$@" > /tmp/out 2> /tmp/err &
    pid=$!
    # As soon as it answers, everything is in its place. Held still, so that it does not end under the eyes of a slow shell.
    while kill -0 $pid 2>/dev/null && [ ! -s /tmp/out ]; do usleep 20000; done
    kill -STOP $pid
    for task in /proc/$pid/task/*; do
        echo "$(cat "$task/comm") $(awk '/Cpus_allowed_list/ { print $2 }' "$task/status")"
    done 2>/dev/null | sort > /tmp/threads
    cat /proc/$pid/numa_maps > /tmp/maps 2>/dev/null
    kill -CONT $pid
    wait $pid
}
threads_of() { awk -v name="$1" '$1 == name { print $2 }' /tmp/threads | sort -u | tr '\n' ' '; }
# The answers without their times.
texts() { grep -o '"text":"[^"]*"' /tmp/out | sort; }

run
check "it ends well" is $? 0
tail -n 1 /tmp/out
echo "threads, as the kernel lists them:"
uniq -c /tmp/threads
echo "memory of more than 256 pages, as the kernel lists it:"
awk '{ total = 0; for (i = 1; i <= NF; i++) if ($i ~ /^N[0-9]+=/) { split($i, part, "="); total += part[2] } if (total > 256) print }' /tmp/maps
texts > /tmp/two
check "two workers" is "$(values workers /tmp/out)" 2
check "two copies of the weights" is "$(values weight_copies /tmp/out)" 2
check "every thread keeps to its node, by the engine's own word" is "$(values affinity_holds /tmp/out | sort -u)" true
check "threads of worker 0 keep to CPUs of node 0" is "$(threads_of llama-worker-0)" "0 1 "
check "threads of worker 1 keep to CPUs of node 1" is "$(threads_of llama-worker-1)" "2 3 "
check "at least 95 % of the weights are local" all_local /tmp/out local_weights 2
check "at least 95 % of the KV is local" all_local /tmp/out local_kv 2
check "both workers had requests" is "$(values requests /tmp/out | grep -vc '^0$')" 2

run --nodes 1
check "--nodes 1: one worker" is "$(values workers /tmp/out)" 1
check "--nodes 1: on node 1" is "$(values node /tmp/out)" 1
check "--nodes 1: its weights are local" all_local /tmp/out local_weights 1
check "--nodes 1: threads keep to CPUs of node 1" is "$(threads_of llama-worker-0)" "2 3 "
texts > /tmp/one
check "the same texts from one worker as from two" cmp -s /tmp/one /tmp/two

run --replicate never
check "--replicate never: one copy of the weights" is "$(values weight_copies /tmp/out)" 1
check "--replicate never: two workers" is "$(values workers /tmp/out)" 2
check "--replicate never: KV is local" all_local /tmp/out local_kv 2

run --placement none
check "--placement none: one worker" is "$(values workers /tmp/out)" 1
check "--placement none: bound to nothing" is "$(threads_of llama-worker-0)" "0-3 "

taskset 4 llama-concurrent topology --json > /tmp/one_cpu.json
check "taskset to one CPU: one thread there" grep -q '"node":1,"cpus":\[2\],"threads":1' /tmp/one_cpu.json

[ $failures = 0 ] && echo "NUMA-VM: all checks passed" || echo "NUMA-VM: $failures checks failed"
sync
poweroff -f
