/** docs/performance.md and its charts, from samples. Text and SVG alone: no script, no font, nothing loaded from elsewhere. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { judge, PROOF_TITLES, type Results, show, showSpread, spreadOf, SUBJECTS, type Subject } from './result.ts'

export function writePage(results: Results, docs: string): void {
  mkdirSync(join(docs, 'performance'), { recursive: true })
  for (const [name, svg] of Object.entries(drawCharts(results))) writeFileSync(join(docs, 'performance', `${name}.svg`), svg)
  writeFileSync(join(docs, 'performance.md'), `${buildPage(results)}\n`)
}

const ALL = Object.keys(SUBJECTS) as Subject[]

const MESSAGES = {
  store: 'store, window 64',
  drain: 'drain and acknowledge',
  subscription: 'drain by subscription, window 64',
  single: 'store, one at a time',
  push: 'online push, window 4',
  'large store': '16 KiB, stored',
  'large drain': '16 KiB, drained',
}

/** From profiles of the relay, a load at a time, on 2 × AMD EPYC; by hand, and to be looked at again when the relay changes. */
const IN_THE_WAY = [
  "- **Store and drain, window 64.** The floor looks at no byte of a payload, overwrites nothing and frees nothing. Of the relay's time for storing and draining JavaScript has 38 %, in which the alphabet has 7, token and receiver 5, the rows of mailboxes 12 and nothing else above 3, the kernel 33, of which page faults, which the floor has, too, are 6, copying and overwriting 9, what V8 does to make views of buffers 5, the young collector 2, marking 1. On a machine with busy neighbours the relay slows down by half, the floor by a third: it has the larger code and tables to lose from the caches.",
  "- **One at a time, and push.** The kernel has 48 %, 36 in the one `write` of each answer, with which loopback delivers it; the floor has 86 % there. Of the rest the session takes a quarter, most of it cold, since each `write` evicts what the next packet needs; the collector 3 to 5, reading 6, and Node's way from epoll into JavaScript and to the end of the turn what is left.",
  "- **The 99th percentile, in runs where it is not reached.** A message costs the relay twice the floor's time at that rate, so that what waits behind a pause takes longer to be gone. Of one second the relay works for 0.6, the floor for a third. The scheduler's own trace shows what it waits for: a kernel thread of this machine that looks through memory takes the core for 3 to 7 ms, two or three times a second, 0.7 % of the time, and the young collector for 1 ms, 8 times. At that load the relay needs longer than the pause itself to catch up, the floor half of it: of the one a little more than a hundredth of the messages is late, of the other a little less, and shows in its 99.9th percentile. Of a message's five system calls none can be left out; Node adds a look at what is there, for a measure that cannot be switched off.",
  '- **16 KiB.** The alphabet 10 % (a table of two bytes at once; there is nothing for it in Node that does not make a string), overwriting 10, page faults 8, copying 5.',
  "- **An idle connection.** By raw TCP 6,120 to 6,510 B in the runs of that figure; where V8 does not count slabs to its heap's limit 5,990 and 6,120, so that it is hardly that. What a connection holds has no profile yet.",
  '- **WebSocket.** Of a store and its drain 8 % is the unmasking of frames, four words at a time, and 2 the reading of their heads; one at a time 3 and 1. The rest is what the raw door does.',
  "- **Logins by RSA, and by signature.** The bare loop does nothing but the check: of a login by an RSA signature that is 8 %, 16 with the key's import and Node's way into OpenSSL, by an ed25519 signature 30 and 38; the encryption to an RSA key is 13, and 17. Of the first the kernel takes 12 % (half of it the two `write`), the collector 8, malloc 8, without the cache that would keep freed memory from being overwritten, reading key and signature 6, the compiler 4 after eight seconds; of the rest, session, stream and promises, nothing is above 5. Every call of node:crypto takes half as much again as in a loop of its own, where caches hold nothing else. A table of the keys that were imported would save the import; the relay remembers nobody's key.",
].join('\n')

/** A row for each figure, a column for each subject that has any of them. */
function table(results: Results, figures: Readonly<Record<string, string>>, cell: (figure: string, subject: Subject) => string): string {
  const subjects = ALL.filter((subject) => Object.keys(figures).some((figure) => spreadOf(results, figure, subject) !== undefined))
  const rows = Object.entries(figures).map(([figure, title]) => [title, ...subjects.map((subject) => cell(figure, subject))])
  return markdown([
    ['', ...subjects.map((subject) => SUBJECTS[subject])],
    ...rows.filter((row) => row.slice(1).some((text) => text !== '')),
  ])
}

function markdown(rows: readonly (readonly string[])[]): string {
  const [head, ...body] = rows as [readonly string[], ...(readonly string[])[]]
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  return [line(head), `|${'---|'.repeat(head.length)}`, ...body.map(line)].join('\n')
}

function figuresLike(results: Results, pattern: RegExp, title: (match: RegExpExecArray) => string): Record<string, string> {
  return Object.fromEntries(
    results.figures.flatMap(({ name }) => {
      const match = pattern.exec(name)
      return match === null ? [] : [[name, title(match)]]
    }),
  )
}

function buildPage(results: Results): string {
  const values = (figures: Readonly<Record<string, string>>): string =>
    table(results, figures, (figure, subject) => {
      const found = spreadOf(results, figure, subject)
      return found === undefined ? '' : showSpread(found)
    })
  const withCpu = (figures: Readonly<Record<string, string>>): string =>
    table(results, figures, (figure, subject) => {
      const found = spreadOf(results, figure, subject)
      const cpu = spreadOf(results, figure, subject, 'cpu')
      return found === undefined ? '' : `${show(found.median)}${cpu === undefined ? '' : ` (${show(cpu.median)})`}`
    })
  const cpuOnly = (figures: Readonly<Record<string, string>>): string =>
    table(results, figures, (figure, subject) => {
      const cpu = spreadOf(results, figure, subject, 'cpu')
      return cpu === undefined ? '' : showSpread(cpu)
    })
  const verdicts = judge(results).map(({ title, against, target, measured, cpu, outcome }) => [
    title,
    against,
    target,
    measured,
    cpu,
    outcome,
  ])
  const queued = figuresLike(results, /^queue of (.+)$/, ([, n]) => `${n} queued`)
  const connections = figuresLike(results, /^(.+) connections$/, ([, n]) => `${n} connections`)
  const sizes = figuresLike(results, /^(.+) characters$/, ([, n]) => `${n} characters`)
  const logins = {
    ...Object.fromEntries(Object.entries(PROOF_TITLES).map(([proof, title]) => [`login ${proof}`, title])),
    'login prosody': 'logins: Prosody, SASL PLAIN',
  }
  const chart = (name: string, title: string): string => `![${title}](performance/${name}.svg)`
  return [
    '# Performance',
    `Written by \`npm run bench -- --page\` on ${results.date.slice(0, 10)}, ${results.form} form, and not by hand. Every figure is of this one run, in which the servers took turns; each is the median of its rounds, with the least and the most where there is room.`,
    `Machine: ${results.machine.join(', ')}. ${Object.entries(results.versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(', ')}.`,
    ...(results.absent.length > 0 ? [`Not measured: ${results.absent.join('; ')}.`] : []),
    '## How it is measured',
    [
      '- The server has the first core to itself, and the load the second; nothing else is asked of the machine, though it may be busy with others: the load average says how much. The CPU time of the server for each message, as the scheduler counts it, is the steadier figure beside the throughput.',
      '- A message is 1 KiB of ciphertext in base64, 1,368 characters, for every server alike. 16 connections, each with its own mailbox, list, topic or stream, with a window of 64 (or 4, or 1) unanswered requests each.',
      '- *C floor* is `bench/floor.c`: an epoll loop that speaks the same lines, and checks, limits, overwrites and expires nothing. The load is `bench/load.c` for every server but Prosody.',
      '- Mosquitto and aedes: QoS 1 to persistent sessions, in memory. Redis: RPUSH; LRANGE and LTRIM of 64; BLPOP online. NATS: JetStream in memory, a work queue for each sender, pulled by 64; core NATS online. Prosody: messages to offline accounts in memory, stream management, no TLS.',
      "- The relay drains by `GET …;lease` and ACK, 128 messages at most, or by SUBSCRIBE with its window of 64. Both are held against the others' one way.",
      `- Before messages are measured, each server but Prosody has had messages of every kind for ${results.form === 'full' ? 'six seconds' : 'a second and a half'}, for what compiles as it runs. Before memory and the collector's pauses are measured, none has.`,
      '- Latencies are from the moment a message was due, at a fixed rate, to its arrival at the reader online.',
      `- Logins are what one core of the server would do, from its CPU time: a client of RSA works longer than the relay. Beside them: the calls of node:crypto that no implementation could leave out, each by the cheapest spelling, in a bare loop, and the modules that the relay calls, in a loop. All of them have run as long before, too; the two loops run beside each other, a core each, for a core is slower while the other is busy, as it is with clients.`,
      `- Memory is resident memory, with ${results.form === 'full' ? '1,000,000' : '64,000'} messages queued, and ${results.form === 'full' ? '9,600' : '1,000'} connections that have proven a key. In the quick form what a program has taken once weighs much.`,
    ].join('\n'),
    '## To reach',
    "A ratio is of two samples of the same round. *By CPU* is the same ratio by the server's CPU time, which other work on the machine disturbs less; a throughput is reached where both are.",
    markdown([['', 'beside', 'target', 'measured', 'by CPU', ''], ...verdicts]),
    '## What stands in the way',
    IN_THE_WAY,
    '## Messages',
    "Messages a second, and in brackets microseconds of the server's CPU for each.",
    withCpu(MESSAGES),
    chart('messages', 'CPU time of a message'),
    '## Latency',
    'Microseconds at 5,000 messages a second, sender to reader.',
    values({ p50: 'p50', p99: 'p99', 'p99.9': 'p99.9' }),
    'The same with the second core shared and the load asleep between messages, while strangers ask for challenges as fast as they get them.',
    values({ 'p50 calm': 'p50, calm', 'p50 flooded': 'p50, login flood', 'p99 calm': 'p99, calm', 'p99 flooded': 'p99, login flood' }),
    "How late the event loop came, 99th percentile by the operator's page, in milliseconds.",
    values({ 'loop storing': 'while storing', 'loop pushing': 'while pushing' }),
    '## Memory',
    values({
      queued: 'B of a queued message, over its characters',
      drained: '% of the peak kept after a full drain',
      thinned: '% of the peak kept after draining 90 % at random',
      idle: 'B of an idle connection',
      pause: 'ms, longest pause of the collector',
    }),
    chart('memory', 'Memory of a queued message over its payload'),
    '## Logins',
    'Logins a second of one core.',
    values(logins),
    chart('logins', 'Logins a second of one core'),
    '## Start',
    'Seconds from the launch to the first connection taken.',
    values({ start: 'start' }),
    '## Growth',
    "Microseconds of the server's CPU for a message: stored and drained over a queue of so many; stored by so many connections, one at a time; stored in so many characters, window 64.",
    cpuOnly({ ...queued, ...connections, ...sizes }),
    chart('growth', 'CPU time of a message as the relay grows'),
    '## Over Tor',
    'Milliseconds of a round trip through a private Tor network on the same machine: PING, and SEND of a message, beside a bare server behind the same onion service.',
    values({ tor: 'PING', 'tor send': 'SEND' }),
  ]
    .join('\n\n')
    .replaceAll(/\n\n\| {2}\|\n\|---\|(?=\n\n|$)/g, '\n\nNot measured in this run.')
}

function drawCharts(results: Results): Record<string, string> {
  const bars = (figures: Readonly<Record<string, string>>, of: 'value' | 'cpu', unit: string, title: string): string =>
    drawBars(
      title,
      unit,
      Object.entries(figures).flatMap(([figure, name]) => {
        const rows = ALL.flatMap((subject) => {
          const found = spreadOf(results, figure, subject, of)
          return found === undefined ? [] : [{ label: SUBJECTS[subject], ...found, ours: subject === 'relay' || subject === 'websocket' }]
        })
        return rows.length === 0 ? [] : [{ title: name, rows }]
      }),
    )
  const { store, drain, single, push } = MESSAGES
  const growth = figuresLike(results, /^(?:queue of .+|.+ connections|.+ characters)$/, ([name]) => name)
  return {
    messages: bars({ store, drain, single, push }, 'cpu', 'µs', 'CPU of the server for a message; shorter is better'),
    memory: bars(
      { queued: 'a queued message, over its characters', idle: 'an idle connection' },
      'value',
      'B',
      'Memory; shorter is better',
    ),
    logins: bars(
      {
        ...Object.fromEntries(Object.entries(PROOF_TITLES).map(([proof, title]) => [`login ${proof}`, title])),
        'login prosody': 'Prosody',
      },
      'value',
      '/s',
      'Logins a second of one core; longer is better',
    ),
    growth: bars(growth, 'cpu', 'µs', 'CPU of the server for a message'),
  }
}

interface Bar {
  readonly label: string
  readonly median: number
  readonly least: number
  readonly most: number
  readonly ours: boolean
}

const WIDTH = 760
const LABEL = 210
const ROW = 18
const ROOM = WIDTH - LABEL - 90

/** Groups of bars, each group to its own scale, with a line from the least to the most. */
function drawBars(title: string, unit: string, groups: readonly { title: string; rows: readonly Bar[] }[]): string {
  const parts: string[] = []
  let y = 40
  for (const { title: name, rows } of groups) {
    const scale = ROOM / Math.max(...rows.map(({ median }) => median), 1e-9)
    parts.push(text(10, y + 12, name, 'bold'))
    y += ROW + 4
    for (const { label, median, least, most, ours } of rows) {
      const length = Math.max(median * scale, 1)
      const middle = y + ROW / 2 - 1
      const ends = [least, most].map((value) => (LABEL + Math.min(Math.max(value, 0) * scale, ROOM)).toFixed(1))
      parts.push(
        text(LABEL - 8, y + 12, label, 'normal', 'end'),
        `<rect x="${LABEL}" y="${y}" width="${length.toFixed(1)}" height="${ROW - 4}" fill="${ours ? '#2b6cb0' : '#a0aec0'}"/>`,
        `<path d="M${ends[0]} ${middle}H${ends[1]}" stroke="#1a202c"/>`,
        text(LABEL + Math.max(length, Number(ends[1]) - LABEL) + 6, y + 12, `${show(median)} ${unit}`),
      )
      y += ROW
    }
    y += 10
  }
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${y + 6}" viewBox="0 0 ${WIDTH} ${y + 6}" font-family="sans-serif" font-size="12">`,
    `<rect width="${WIDTH}" height="${y + 6}" fill="#ffffff"/>`,
    text(10, 22, title, 'bold'),
    ...parts,
    '</svg>\n',
  ].join('\n')
}

function text(x: number, y: number, words: string, weight = 'normal', anchor = 'start'): string {
  const safe = words.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
  return `<text x="${x.toFixed(1)}" y="${y}" font-weight="${weight}" text-anchor="${anchor}" fill="#1a202c">${safe}</text>`
}
