/**
 * The relay lets data out only to its receiver. A full run of user actions marks every payload, bundle, key, secret,
 * token, handle, challenge and message id, then the test searches the log, the operator's pages, the public pages and
 * the relay's folder for these marks. Relays with a deliberate leak must be detected.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import {
  type Canaries,
  drawMark,
  fetchPage,
  type Played,
  play,
  type RelayOptions,
  type RunningRelay,
  startRelay,
  READS_AS_NODE_DOES,
} from '../support/scenario.ts'

interface Outlets {
  readonly log: string
  readonly operator: string
  readonly page: string
  readonly files: string
}

/** Runs all user actions at a relay and collects everything that it put out beside its answers. */
async function listen(options: Omit<RelayOptions, 'folder'> = {}): Promise<{ played: Played; outlets: Outlets }> {
  const folder = mkdtempSync(join(tmpdir(), 'asfaleia-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const relay = await startRelay({ folder, ...options })
  onTestFinished(async () => void (await relay.end('SIGKILL')))
  const played = await play(relay)
  const marks = await askPages(relay)
  Object.assign(played.secrets, marks.canaries)
  process.kill(relay.pid, 'SIGHUP')
  const { stdout, stderr } = await relay.end()
  return { played, outlets: { log: stdout + stderr, operator: marks.operator, page: marks.page, files: readFolder(folder) } }
}

/** Requests every page, also with marks in the requests that no answer may repeat. */
async function askPages({ doors }: RunningRelay): Promise<{ operator: string; page: string; canaries: Canaries }> {
  const mark = drawMark()
  const ask = async (door: 'operator' | 'http', ...paths: string[]): Promise<string> => {
    const pages: string[] = []
    for (const path of [...paths, `/${mark}`, `/%zz${mark}`, `/?${mark}`])
      pages.push(await fetchPage(doors[door], path), await fetchPage(doors[door], path, 'POST'))
    return pages.join('\n')
  }
  return {
    operator: await ask('operator', '/livez', '/readyz', '/metrics', '/status'),
    page: await ask('http', '/', '/v1'),
    canaries: { 'a request': Buffer.from(mark) },
  }
}

/** Returns the names and contents of the files left in the relay's working directory. */
function readFolder(folder: string): string {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  return names
    .map((name) => `${name}\n${statSync(join(folder, name)).isFile() ? readFileSync(join(folder, name), 'latin1') : ''}`)
    .join('\n')
}

function findAll(text: string, { payloads, keyTexts, keyBytes, secrets }: Played): string[] {
  const bytes = Buffer.from(text)
  return Object.entries({ ...payloads, ...keyTexts, ...keyBytes, ...secrets })
    .filter(([, needle]) => bytes.includes(needle))
    .map(([name]) => name)
}

test.each([['JSON'], ['pretty', '--log-format', 'pretty']])(
  'the relay leaks no user data into log (%s), pages or files',
  async (_name, ...more) => {
    const { played, outlets } = await listen({ more })
    expect(Object.fromEntries(Object.entries(outlets).map(([outlet, text]) => [outlet, findAll(text, played)]))).toEqual({
      log: [],
      operator: [],
      page: [],
      files: [],
    })
    // Prove that the outlets were read and that users were active.
    expect(outlets.log).toMatch(/ready[^]*every message is erased/)
    expect(outlets.operator).toMatch(/^asfaleia_logins_total\{proof="sign"\} 10$/m)
    expect(outlets.operator).toMatch(/"loopDelaySeconds"/)
    expect(outlets.page).toContain('This is an Asfaleia relay')
  },
  60_000,
)

const HEAR = (heard: string, imports = ''): string => `${imports}
import { Socket } from 'node:net'
${READS_AS_NODE_DOES}
const { emit } = Socket.prototype
Socket.prototype.emit = function (event, chunk, ...more) {
  if (event === 'data' && Buffer.isBuffer(chunk)) { ${heard} }
  return emit.call(this, event, chunk, ...more)
}`
/** One canary of each kind that arrives over a socket of lines. */
const HEARD = [
  'tcp, decrypt, ack',
  'tcp, sign, get: base64',
  'tcp, sign, get: token',
  'tcp, sign, get: handle',
  'unix, decrypt, ack: id 0',
  'tcp, claim: secret',
  'unix, claim: bundle',
]

test.each([
  ['its log', HEAR('process.stderr.write(chunk)'), 'log'],
  ['a file', HEAR("appendFileSync('kept', chunk)", "import { appendFileSync } from 'node:fs'"), 'files'],
  [
    'the operator pages',
    `${HEAR("if (/^[0-9]+;/.test(chunk.toString('latin1', 0, 3))) kept += chunk.toString('latin1')", "import { ServerResponse } from 'node:http'\nlet kept = ''")}
const { writeHead, end } = ServerResponse.prototype
ServerResponse.prototype.writeHead = function (code, headers) {
  delete headers['content-length']
  return writeHead.call(this, code, headers)
}
ServerResponse.prototype.end = function (body, ...more) {
  return end.call(this, body + kept, ...more)
}`,
    'operator',
  ],
] as const)(
  'a relay that leaks received data into %s is detected',
  async (_name, fault, outlet) => {
    const { played, outlets } = await listen({ fault })
    expect(findAll(outlets[outlet], played)).toEqual(expect.arrayContaining(HEARD))
  },
  60_000,
)
