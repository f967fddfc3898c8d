#!/bin/busybox sh
# Runs in the guest, with probe's path as its argument: a server, a client that counts, and probe between them. Says on
# stdout, a line each, what the client saw (`seen KEY VALUE`), and last the report, after the line `report`.
b=/run/vm/busybox
probe=$1
n=20
dir=/run/tmp/smoke
fail() { echo "guest: $*"; exit 1; }
# Waits for a condition, at most a minute.
until_true() {
    i=0
    until "$@"; do
        i=$((i + 1))
        [ $i -lt 600 ] || fail "waited too long for: $*"
        $b usleep 100000
    done
}
has() { $b grep -q "$1" "$2"; }
listens() { has '0100007F:1F90 .* 0A ' /proc/net/tcp; }

echo "seen machine $($b uname -rm)"
$b mkdir -p $dir/www/cgi-bin $dir/saved && cd $dir || fail "no directory"
$b dd if=/dev/urandom of=www/small.txt bs=317 count=1 2>/dev/null
$b dd if=/dev/urandom of=www/big.bin bs=1000 count=300 2>/dev/null
# Saves its body as a checkpoint: beside its place, to the disk, and into place.
cat_save() {
    echo "#!$b sh"
    echo "at=$dir/saved/\$QUERY_STRING"
    echo "$b dd of=\$at.json.tmp bs=1000 count=1 conv=fsync 2>/dev/null </dev/zero"
    echo "$b mv \$at.json.tmp \$at.json"
    echo "echo Content-Type: text/plain; echo; echo saved"
}
cat_save >www/cgi-bin/save
$b chmod +x www/cgi-bin/save
# One objective that holds and, in the other profile, one that can't.
printf '%s\n' 'name = "smoke"' '[[objective]]' 'id = "errors"' 'metric = "error_rate"' \
    'target = "0%"' 'limit = "0%"' '[stages]' '[[stage]]' 'name = "save"' 'file = "saved/{doc}.json"' >pass.toml
printf '%s\n' 'name = "smoke"' '[[objective]]' 'id = "p50"' 'metric = "latency.p50"' \
    'target = "1us"' 'limit = "1us"' >fail.toml

$b httpd -f -p 127.0.0.1:8080 -h www &
server=$!
until_true listens

"$probe" doctor --pid $server >doctor.txt 2>&1
echo "seen doctor_exit $?"
$b sed 's/^/doctor: /' doctor.txt

# What a whole answer takes, heads and all, by another program.
ask() { printf 'GET /%s HTTP/1.0\r\n\r\n' $1 | $b nc 127.0.0.1 8080 | $b wc -c; }
for file in small.txt big.bin; do
    echo "seen file $file $($b stat -c %s www/$file) $(ask $file)"
done

"$probe" attach --pid $server --profile pass.toml --record --out run --format json >report.json 2>probe.log &
watcher=$!
attached() { has "^attached to pid $server" probe.log || ! $b kill -0 $watcher; }
until_true attached
i=0
while [ $i -lt $n ]; do
    i=$((i + 1))
    for file in small.txt big.bin; do
        $b wget -q -O got http://127.0.0.1:8080/$file && $b cmp got www/$file && echo "seen get $file $($b stat -c %s got)"
    done
    # A request whose bytes are known, too.
    printf 'GET /small.txt?by=nc HTTP/1.0\r\n\r\n' | $b nc 127.0.0.1 8080 | $b wc -c >got
    echo "seen raw $($b cat got)"
    $b wget -q -O got "http://127.0.0.1:8080/cgi-bin/save?$i" && echo "seen save $($b stat -c %s saved/$i.json)"
done
$b kill -INT $watcher
wait $watcher
echo "seen attach_exit $?"
$b sed 's/^/probe: /' probe.log
"$probe" report run --profile fail.toml --format text >text 2>&1
echo "seen report_exit $?"
$b sed 's/^/report: /' text
echo report
$b cat report.json
