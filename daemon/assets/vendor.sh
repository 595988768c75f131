#!/usr/bin/env bash
# Brings the browser code of /docs and /redoc into this directory, once per upgrade, by a person; the build never runs it.
#
# Upgrading: change a version and its integrity below, run this, look at both pages in a browser with the console open, commit.
# The same versions give the same octets, so running it again shows whether what is checked in is what was published.
set -euo pipefail
cd "$(dirname "$0")"

SWAGGER_UI=5.35.0
SWAGGER_UI_INTEGRITY=sha512-U06rpMtW9V3XPGOBeamTUSr0Z09jMX4IJuANpE/EZbAhw0G8CgwrzU4YmXkn/h0wCDNsXdGarTNNHC3sU8yVUQ==
REDOC=2.5.4
REDOC_INTEGRITY=sha512-M6jWhG1qoBnH6TFmzJnstyCZ87HmOY/UzDm78mHiYihEdlV/YcS9ogOo1NlElnJMeLsyxHFe2yFc4sNjHTrABQ==

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# unpack PACKAGE VERSION INTEGRITY: the published package in $work/PACKAGE, or nothing at all.
unpack() {
    (cd "$work" && npm pack --silent "$1@$2" >/dev/null)
    local file="$work/$1-$2.tgz" got
    got="sha512-$(openssl dgst -sha512 -binary "$file" | base64 -w0)"
    [ "$got" = "$3" ] || { echo "$1 $2: integrity is $got, not $3" >&2; exit 1; }
    mkdir "$work/$1"
    tar -xzf "$file" -C "$work/$1" --strip-components=1
}

# squeeze FILE: standard input as FILE.gz; without name and time in its header, so that it is the same every time.
squeeze() { gzip -9n >"$1.gz"; }

unpack swagger-ui-dist "$SWAGGER_UI" "$SWAGGER_UI_INTEGRITY"
from="$work/swagger-ui-dist"
squeeze swagger-ui/swagger-ui-bundle.js <"$from/swagger-ui-bundle.js"
squeeze swagger-ui/swagger-ui.css <"$from/swagger-ui.css"
cp "$from/favicon-32x32.png" "$from/LICENSE" "$from/NOTICE" "$from/swagger-ui-bundle.js.LICENSE.txt" swagger-ui/

unpack redoc "$REDOC" "$REDOC_INTEGRITY"
from="$work/redoc"
# Its side bar shows a logo from the maker's server: the one thing it would load from elsewhere. An empty image hides itself.
logo='https://cdn.redoc.ly/redoc/logo-mini.svg'
grep -qF "$logo" "$from/bundles/redoc.standalone.js" || { echo "redoc: the logo's address has changed" >&2; exit 1; }
sed "s#$logo#data:,#" "$from/bundles/redoc.standalone.js" | squeeze redoc/redoc.standalone.js
cp "$from/LICENSE" "$from/bundles/redoc.standalone.js.LICENSE.txt" redoc/

# The digests of the README, of the files as served (not of their compressed form).
for file in swagger-ui/swagger-ui-bundle.js swagger-ui/swagger-ui.css redoc/redoc.standalone.js; do
    printf '%s  %s\n' "$(zcat "$file.gz" | sha256sum | cut -d' ' -f1)" "$file"
done
