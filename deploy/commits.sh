#!/bin/sh
# Checks the subjects of new commits: `area: imperative subject`, at most 72 characters, the area in lower case.
# Without a range it checks the commits since the rule began that are not on the default branch of `origin`: only
# these can still be reworded. It checks nothing, and says why, if there is no git, no history, or (in a shallow
# clone) no such base.
# Usage: sh deploy/commits.sh [RANGE]
set -eu
cd "$(dirname "$0")/.."

# The last commit before the rule.
BASE=79530cfd4eb6
range=${1:-$BASE..HEAD}

skip() { printf 'commits: not checked: %s\n' "$1" >&2; exit 0; }
command -v git >/dev/null 2>&1 || skip 'git is not installed'
git rev-parse --quiet --verify 'HEAD^{commit}' >/dev/null 2>&1 || skip 'this is not a git checkout'
base=${range%%..*}
git merge-base --is-ancestor "$base" HEAD 2>/dev/null || skip "$base is not in the history of this clone"

published=''
if [ $# = 0 ]; then
  for branch in origin/HEAD origin/main; do
    git rev-parse --quiet --verify "$branch^{commit}" >/dev/null 2>&1 && published="$published $branch"
  done
fi
# shellcheck disable=SC2086
git log --no-merges --format='%h %s' "$range" ${published:+--not $published} | LC_ALL=C awk '
  # Words that begin a description of the result instead of an instruction.
  BEGIN { split("a an the it what who when where after before no one is are this there", words); for (n in words) other[words[n]] = 1 }
  {
    subject = substr($0, index($0, " ") + 1)
    # Only the first byte of each UTF-8 character counts.
    characters = subject; gsub(/[\200-\277]/, "", characters)
    problem = ""
    if (subject !~ /^[a-z0-9][a-z0-9 ,.\/-]*: [^ ]/) problem = "the form is `area: imperative subject`, the area in lower case"
    else {
      verb = subject; sub(/^[^:]*: /, "", verb); sub(/[ ,.:;].*/, "", verb)
      if (verb !~ /^[a-z-]+$/) problem = "the subject begins with a verb in lower case"
      else if (verb in other) problem = "the subject begins with a verb, not with `" verb "`"
      else if (verb ~ /[a-z](ed|ing)$/ && verb !~ /^(embed|exceed|feed|need|proceed|seed|shed|speed|succeed|bring|ping|ring|string)$/)
        problem = "the verb is imperative, not `" verb "`"
      else if (length(characters) > 72) problem = length(characters) " characters, at most 72"
      else if (subject ~ /\.$/) problem = "no full stop at the end"
    }
    if (problem != "") { print "commits: error: " $1 ": " problem "\n  " subject; bad = 1 }
    count++
  }
  END { if (!bad) printf "commits: %d subjects checked\n", count; exit bad }' >&2
