/**
 * Writes docs/performance.md and its charts from samples. The page is text and SVG only: no script, no font,
 * nothing loaded from elsewhere.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { FLOODS } from './attack.ts'
import { judge, PATH_TITLES, PROOF_TITLES, type Results, show, showSpread, spreadOf, SUBJECTS, type Subject } from './result.ts'

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

/**
 * Shares from profiles of the relay, one load at a time, on 2 × AMD EPYC. These are written by hand: profile
 * again after changes of the relay.
 */
const PROFILES = [
  '- **Store and drain, window 64.** The floor does not read the bytes of a payload, and it overwrites and frees nothing. The relay spends its time for storing and draining on JavaScript (38 %: the check of the base64 alphabet 7, token and receiver 5, the rows of mailboxes 12, nothing else above 3), the kernel (33 %: page faults, which the floor has too, are 6 of it), copying and overwriting (9 %), the views of buffers that V8 makes (5 %), the young collector (2 %) and marking (1 %). If other programs keep the machine busy, the relay slows down by half and the floor by a third, because the relay has more code and tables that drop out of the caches.',
  "- **One at a time, and push.** The kernel takes 48 %, of which 36 are the one `write` of each answer, which delivers it over loopback; for the floor the kernel takes 86 %. A quarter of the rest is the session, mostly with cold caches, because each `write` evicts the data that the next packet needs. The collector takes 3 to 5 %, reading 6 %, and the remainder is Node's path from epoll into JavaScript and to the end of the turn.",
  "- **The 99th percentile, in runs that miss it.** At that rate a message takes the relay twice the floor's time, so the messages that wait behind a pause take longer to clear. The relay works for 0.6 of each second, the floor for a third. The trace of the scheduler shows two kinds of pauses. A kernel thread of this machine that scans memory takes the core for 3 to 7 ms, two or three times a second, which is 0.7 % of the time. The young collector takes it for 1 ms, 8 times a second. At that load the relay needs longer than the pause itself to catch up, and the floor half as long as the pause. So a little more than 1 % of the relay's messages are late, which shows in the 99th percentile. For the floor it is a little less than 1 %, which shows only in the 99.9th. Each of a message's five system calls is necessary. Node adds another look for events, for a statistic that cannot be switched off.",
  '- **16 KiB.** The check of the alphabet takes 10 % (with a table for two bytes at once; Node has no function for it that does not make a string), overwriting 10 %, page faults 8 %, copying 5 %.',
  '- **An idle connection.** Over raw TCP, the runs of this figure gave 6,120 to 6,510 B. With a V8 that does not count slabs towards its heap limit they gave 5,990 and 6,120 B, so that is hardly the cause. The memory of a connection has not been profiled yet.',
  '- **WebSocket.** Of the time for storing and draining, unmasking frames (four words at a time) takes 8 %, and reading their headers 2 %; one at a time 3 and 1 %. The rest is the same as for the raw door.',
  "- **Logins by RSA, and by signature.** The bare loop only makes the cryptographic check. This check is 8 % of a login by an RSA signature, or 16 % with the key's import and Node's way into OpenSSL. For an ed25519 signature it is 30 and 38 %, and for the encryption to an RSA key 13 and 17 %. In a login by an RSA signature, the kernel takes 12 % (half of it in two `write` calls), the collector 8 %, malloc 8 % (without the cache that would keep freed memory from being overwritten), reading key and signature 6 %, and the compiler 4 %, after eight seconds. Of the rest (session, stream and promises) nothing takes more than 5 %. Each call of node:crypto takes 1.5 times as long as in the bare loop, in which the caches hold nothing else. A table of imported keys would save the import, but the relay does not remember keys.",
  '- **The paths of an earlier commit.** It is 8dfcc51, the last one without claims, labels and bundles. Three runs before this one took the mean of the turns, under load averages from 11 to 18. They gave 0.99 to 1.08 for SEND, 0.95 to 1.06 for a drain, 1.01 to 1.06 for one by subscription, and 1.03 to 1.12 for push: on a machine so busy, the mean cannot tell 5 % from nothing.',
  "- **Stream, login and SEND.** The client waits for an answer twice: to AUTH, which leaves with HELLO behind the SOCKS request, and to SEND, which leaves behind VERIFY under the empty label. One round trip is not possible, because VERIFY answers the relay's challenge. With the token of an earlier connection there is none, so a message is at the relay, and a person's inbox is subscribed again, after one round trip: the first request tests the token. After a restart of the relay that request is refused, and it takes three.",
  "- **Stream, claim and SEND over Tor.** Early data reaches the relay within 1 ms of the stream's opening. The answer reaches the client 44 ms after the reply of the SOCKS port in 14 of 16 streams, and together with it in 2. Without early data, it comes one trip (16 ms) after the reply. So the 44 ms are no trip. They fit a socket of tor that waits for the acknowledgement of its SOCKS reply, which the client's system delays by 40 ms because the client has nothing more to write.",
  "- **An idle person with 20 contacts.** After a collection, a relay holds 24.6 KB for each. Resident memory is 13 KB more; the difference has not been profiled. The tor of the onion service holds 13.2 KB for each connection on a circuit of its own, and so 26.3 KB for a person's two connections (the target is 25 KB; resident memory, 20 to 300 connections, tor 0.4.9.11, by hand).",
].join('\n')

/** Returns a row for each figure, with a column for each subject that has any of them. */
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
    `\`npm run bench -- --page\` wrote this page on ${results.date.slice(0, 10)}, in its ${results.form} form. All figures are from that one run, in which the servers took turns. Each figure is the median of its rounds; the brackets, if there is room for them, give the least and the most.`,
    `Machine: ${results.machine.join(', ')}. ${Object.entries(results.versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(', ')}.`,
    ...(results.later ?? []).map(
      ({ parts, date, form, machine }) =>
        `Measured later, on ${date.slice(0, 10)}, in the ${form} form: ${parts.join(', ')} (${machine.at(-1)}).`,
    ),
    ...(results.absent.length > 0 ? [`Not measured: ${results.absent.join('; ')}.`] : []),
    '## How it is measured',
    [
      "- The server runs on the first core alone, and the load on the second. Other programs may keep the machine busy; the load average says how much. The server's CPU time for each message, as the scheduler counts it, is therefore a steadier figure than the throughput.",
      '- For every server, a message is 1 KiB of ciphertext in base64, 1,368 characters. There are 16 connections, each with its own mailbox, list, topic or stream, and with a window of 64 (or 4, or 1) unanswered requests.',
      '- *C floor* is `bench/floor.c`: an epoll loop that speaks the same lines, but checks, limits, overwrites and expires nothing. `bench/load.c` makes the load for every server except Prosody.',
      '- Mosquitto and aedes: QoS 1 to persistent sessions, in memory. Redis: RPUSH; LRANGE and LTRIM of 64; BLPOP online. NATS: JetStream in memory, a work queue for each sender, pulled by 64; core NATS online. Prosody: messages to offline accounts in memory, stream management, no TLS.',
      '- The relay drains by `GET …;lease` and ACK, at most 128 messages at a time, or by SUBSCRIBE with its window of 64. Each other server drains in one way, and both ways of the relay are compared with it.',
      `- Before the message figures, each server except Prosody handles messages of every kind for ${results.form === 'full' ? 'six seconds' : 'a second and a half'}, so that just-in-time compilers have finished. Before the figures for memory and the collector's pauses, there is no such warm-up.`,
      '- A latency runs from the moment at which a message was due, at a fixed rate, to its arrival at the online reader.',
      "- Logins are computed for one whole core from the server's CPU time, because an RSA client works longer than the relay. Two loops give comparisons. *node:crypto alone* makes only the calls that no implementation could omit, each in its cheapest form. *The relay's own cryptography alone* calls the relay's modules. The server and both loops warm up for the same time. The two loops run at the same time, on one core each, because a core is slower while the other is busy, as it is with clients.",
      `- Memory is resident memory, with ${results.form === 'full' ? '1,000,000' : '64,000'} messages queued, and ${results.form === 'full' ? '9,600' : '1,000'} connections that have proved a key. In the quick form, memory that a program allocates only once has a large share.`,
    ].join('\n'),
    '## Targets',
    "A ratio compares two samples of the same round. *By CPU* is the same ratio of the server's CPU times, which other work on the machine disturbs less. A throughput reaches its target only if both ratios do. *At most 3 × plus 5 ms* bounds the milliseconds of a round under [attack](#under-attack): three times the figure of the same round without an attack, plus five.",
    markdown([['', 'compared with', 'target', 'measured', 'by CPU', ''], ...verdicts]),
    '## Where the time goes',
    PROFILES,
    '## Messages',
    "Messages a second; the brackets give the server's CPU time for each, in microseconds.",
    withCpu(MESSAGES),
    chart('messages', 'CPU time of a message'),
    "Microseconds of the server's CPU time for a message, of this relay and of one of an earlier commit. In each of 9 rounds they take eight turns each, and the sample is the cheapest turn, because other work on the machine only adds CPU time.",
    cpuOnly(Object.fromEntries(Object.entries(PATH_TITLES).map(([path, title]) => [`path ${path}`, title]))),
    '## Latency',
    'Microseconds from sender to reader, at 5,000 messages a second.',
    values({ p50: 'p50', p99: 'p99', 'p99.9': 'p99.9' }),
    'The same, but clients share the second core, and the load sleeps between messages. In a *login flood*, strangers ask for challenges as fast as they get them.',
    values({ 'p50 calm': 'p50, calm', 'p50 flooded': 'p50, login flood', 'p99 calm': 'p99, calm', 'p99 flooded': 'p99, login flood' }),
    "Delay of the event loop in milliseconds, the 99th percentile of the operator's page.",
    values({ 'loop storing': 'while storing', 'loop pushing': 'while pushing' }),
    '## Under attack',
    'Milliseconds, while one client or sixteen attack as fast as the machine lets them: p50 and p99 of 100 messages a second from Alice to Bob until both know it, and the median of ten logins a second. The attackers run only while the second core has nothing else to do. The last line is the memory of each of 1,000 connections that have proved no key, send HELLO after HELLO, and never read.',
    ...(['p50', 'p99', 'login'] as const).map((of) =>
      values({
        [`attack ${of} calm`]: `${of}, calm`,
        ...Object.fromEntries(
          Object.entries(FLOODS).flatMap(([kind, flood]) =>
            [1, 16].map((count) => [`attack ${of} ${kind} ${count}`, `${of}, ${flood}, ${count} ×`]),
          ),
        ),
      }),
    ),
    values({ stranger: 'B of a stranger that does not read' }),
    '## Memory',
    values({
      queued: 'B of a queued message beyond its characters',
      drained: '% of the peak kept after a full drain',
      thinned: '% of the peak kept after draining 90 % at random',
      idle: 'B of an idle connection',
      pause: 'ms, longest pause of the collector',
    }),
    chart('memory', 'Memory of a queued message beyond its payload'),
    '## Logins',
    'Logins a second on one core.',
    values(logins),
    chart('logins', 'Logins a second on one core'),
    '## Start',
    'Seconds from the launch to the first accepted connection.',
    values({ start: 'start' }),
    'Milliseconds of CPU time of a command, in user and kernel mode: until it sends its first byte to the SOCKS port, or until it ends. Each sample is the mean of ten runs.',
    values({
      'command node': '`node -e 0`',
      'command help': '`asfaleia --help`',
      'command completion': '`asfaleia completion bash`',
      'command send': '`asfaleia send`',
      'command get': '`asfaleia get`',
    }),
    '## One-time keys',
    "Milliseconds of CPU time for a message to a one-time key, in the smallest size: the client makes the key, encrypts the message, and opens it with the key's seed.",
    values({ 'one-time': 'a message' }),
    '## Addresses and claims',
    "Microseconds of the relay's CPU time. Claims come 20 in one write, and take turns with logins.",
    values({ claim: 'a claim', 'login beside claims': 'a login: decrypt, ed25519' }),
    'Bytes for a person who is connected and idle: an inbox on one connection, and the addresses of 20 contacts on another. The mailboxes are empty, and their memory is part of the figure for subscriptions. The first rows count the heap and the external memory of a relay with 200 such people, after a collection. The last row is the resident memory of the packaged relay for 1,000 such people.',
    values({
      'person connections': 'two connections',
      'person proofs': 'a login, and 20 claims with labels',
      'person subscriptions': '21 subscriptions and mailboxes',
      person: 'together',
      'person resident': 'resident memory',
    }),
    'The time until a sender knows that the relay has a message of the size of a chat line, in round trips of 200 ms on a circuit that stands: a proxy in the place of Tor delays each way by 100 ms. A figure is a whole number of round trips, and the time of both programs.',
    values({ 'trips claim': 'stream, claim and SEND', 'trips key': 'stream, login and SEND' }),
    'The same over the private Tor network, in milliseconds. In each of 10 rounds, the kinds take turns on one circuit. All programs share one machine, so the time of the programs is a large part of a trip.',
    values({
      'tor trips ping': 'PING on an open stream',
      'tor trips open': 'a stream without a packet',
      'tor trips claim': 'stream, claim and SEND',
      'tor trips key': 'stream, login and SEND',
    }),
    '## Growth',
    "The server's CPU time for a message, in microseconds. The rows *queued* store and drain messages while so many others wait. The rows *connections* store messages one at a time over so many connections. The rows *characters* store payloads of this length, with window 64.",
    cpuOnly({ ...queued, ...connections, ...sizes }),
    chart('growth', 'CPU time of a message as the relay grows'),
    '## Over Tor',
    'Milliseconds for a round trip through a private Tor network on the same machine: PING, and SEND of a message. The bare echo server is behind the same onion service.',
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
      { queued: 'a queued message beyond its characters', idle: 'an idle connection' },
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
      'Logins a second on one core; longer is better',
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

/** Draws groups of bars, each group with its own scale, and a line from the least to the greatest value. */
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
