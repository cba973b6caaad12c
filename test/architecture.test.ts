/**
 * Who may import whom. Every arrow between parts, every package and every module of Node that src/ uses
 * stands here once, with its reason; a new one fails, and so does a line that nothing needs any more.
 */
import { globSync, readFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import { describe, expect, it } from 'vitest'

const ROOT = join(import.meta.dirname, '..')

/** The parts, the most special first: a file belongs to the first that it begins with. */
const PARTS = [
  'protocol/',
  'auth/private-key.ts',
  'auth/agent.ts',
  'auth/',
  'mailbox/',
  'relay/stream.ts',
  'relay/counters.ts',
  'relay/',
  'transport/address.ts',
  'transport/socks.ts',
  'transport/',
  'operator/',
  'handover/',
  'client/',
  'onion/',
  'cli/',
  'config/',
  'log.ts',
  'version.ts',
  'server.ts',
] as const
type Part = (typeof PARTS)[number]

/** From, to, why. `type` where only types may be imported, which leaves nothing at run time. */
type Arrow = readonly [from: Part, to: Part, why: string, only?: 'type']

const ARROWS: readonly Arrow[] = [
  ['auth/', 'protocol/', 'what is wrong with a key is a ProtocolError; base64'],
  ['auth/private-key.ts', 'auth/', 'the public half is parsed as strictly as any, and X25519 is of one place'],
  ['auth/private-key.ts', 'protocol/', 'it turns a ProtocolError into its own'],
  ['auth/agent.ts', 'auth/', 'what an agent says is parsed and checked as strictly as any'],
  ['auth/agent.ts', 'protocol/', 'a key that is refused is one of no use, and no error'],
  ['mailbox/', 'protocol/', 'the port that it fills, and the limits', 'type'],
  ['relay/', 'auth/', 'proofs and tokens'],
  ['relay/', 'mailbox/', 'the relay holds the mailboxes'],
  ['relay/', 'protocol/', 'a connection drives a session'],
  ['relay/', 'relay/stream.ts', 'what a door hands over', 'type'],
  ['relay/', 'relay/counters.ts', 'what happened'],
  ['relay/stream.ts', 'protocol/', 'how packets are framed', 'type'],
  ['relay/counters.ts', 'protocol/', 'refusals are counted by code'],
  ['transport/', 'relay/stream.ts', 'every door ends in a ByteStream', 'type'],
  ['operator/', 'relay/counters.ts', 'what it shows', 'type'],
  ['operator/', 'transport/', 'it listens where doors may listen, and nowhere else'],
  ['transport/', 'transport/address.ts', 'where WebSockets are'],
  ['transport/socks.ts', 'transport/address.ts', 'whither it goes'],
  ['operator/', 'transport/address.ts', 'the probe goes the way of a client'],
  ['operator/', 'transport/socks.ts', 'the probe goes the way of a client'],
  ['operator/', 'protocol/', 'the probe speaks as a client'],
  ['operator/', 'config/', 'an address', 'type'],
  ['operator/', 'log.ts', 'what changed is an event', 'type'],
  ['handover/', 'mailbox/', 'what is handed over', 'type'],
  ['handover/', 'relay/', 'what is handed over', 'type'],
  ['handover/', 'transport/', 'its socket is listened for as doors are'],
  ['handover/', 'log.ts', 'what happened is an event', 'type'],
  ['client/', 'auth/', 'proofs, and what a message is encrypted to'],
  ['client/', 'auth/private-key.ts', 'whose client it is; the library gives its parser to programs'],
  ['client/', 'protocol/', 'a connection drives a client session'],
  ['client/', 'transport/address.ts', 'where a relay is'],
  ['client/', 'transport/socks.ts', 'the way to a relay'],
  ['cli/', 'auth/', 'keys that the user names'],
  ['cli/', 'auth/private-key.ts', 'keys that the user has, but for plain ed25519 ones'],
  ['client/', 'auth/agent.ts', 'the library gives it to programs'],
  ['cli/', 'auth/agent.ts', "keys that the user's agent has"],
  ['cli/', 'client/', 'send and get'],
  ['cli/', 'onion/', "the operator's tasks on the service's keys"],
  ['cli/', 'protocol/', 'caps and codes that are told to a person'],
  ['cli/', 'transport/', 'whether sockets are read past Node is one of the checks'],
  ['cli/', 'transport/address.ts', 'addresses that the user names'],
  ['cli/', 'operator/', 'what status shows, and what is watched for the log'],
  ['cli/', 'config/', 'the relay command reads it'],
  ['cli/', 'log.ts', 'the relay command logs'],
  ['cli/', 'server.ts', 'the relay command runs one'],
  ['cli/', 'version.ts', '--version'],
  ['config/', 'protocol/', 'default limits'],
  ['config/', 'relay/counters.ts', 'the names of doors'],
  ['config/', 'transport/address.ts', 'what an onion address is'],
  ['log.ts', 'config/', 'level and format, and the names of checks'],
  ['log.ts', 'handover/', 'why nothing was handed over'],
  ['log.ts', 'operator/', "the words of tor's state and of the probe"],
  ['log.ts', 'relay/counters.ts', 'the names of doors'],
  ['log.ts', 'version.ts', 'the version is a field'],
  ['server.ts', 'auth/', 'the file of admitted keys'],
  ['server.ts', 'config/', 'what is to be run'],
  ['server.ts', 'handover/', 'the relay before and the relay after'],
  ['server.ts', 'log.ts', 'events', 'type'],
  ['server.ts', 'operator/', "the operator's listener"],
  ['server.ts', 'relay/', 'the relay'],
  ['server.ts', 'relay/counters.ts', 'the names of doors', 'type'],
  ['server.ts', 'transport/', 'the doors'],
]

/** Package, the files (or folders) that may import it, why. */
const PACKAGES: readonly (readonly [name: string, users: readonly string[], why: string])[] = [
  [
    '@noble/curves',
    ['auth/ssh-key.ts', 'auth/age-ssh.ts', 'onion/service.ts'],
    'points that node:crypto does not check, convert or multiply',
  ],
  ['@noble/curves', ['auth/crypto.web.ts'], 'what node:crypto does in Node'],
  ['@noble/ciphers', ['auth/crypto.web.ts'], 'what node:crypto does in Node'],
  ['@noble/ciphers', ['auth/container.ts'], 'Poly1305 alone, as OpenSSH uses it'],
  ['@noble/hashes', ['auth/crypto.web.ts'], 'what node:crypto does in Node'],
  ['@noble/hashes', ['client/file.ts', 'transport/address.ts'], "a file's hash part by part, an onion address's checksum, in a page too"],
  ['age-encryption', ['auth/age-ssh.ts', 'client/envelope.ts', 'client/identity.ts'], "clients' messages"],
  ['@scure/bip39', ['client/safety.ts'], 'words that people can tell apart when they hear them'],
  ['@scure/base', ['client/field.ts', 'client/card.ts', 'client/seen.ts'], 'strict base64url and bech32, in a page too'],
  ['age-encryption', ['onion/backup.ts', 'cli/commands/backup.ts', 'cli/unlock.ts'], 'backups'],
  ['sshpk', ['auth/private-key.ts'], 'what stands in OpenSSH private keys'],
  ['bcrypt-pbkdf', ['auth/container.ts'], 'passphrases of OpenSSH private keys: a round at a time, which sshpk does not give'],
  ['jsonwebtoken', ['auth/token.ts'], 'tokens'],
  ['fastify', ['transport/websocket.ts', 'operator/http.ts'], 'HTTP'],
  ['@fastify/websocket', ['transport/websocket.ts'], 'WebSockets'],
  ['ws', ['transport/websocket.ts'], 'the class that @fastify/websocket makes of an upgraded socket'],
  ['prom-client', ['operator/metrics.ts'], 'the text of metrics'],
  ['pino', ['log.ts'], 'the log'],
  ['pino-pretty', ['log.ts'], 'the log on a terminal'],
  ['string-width', ['cli/chat/text.ts'], 'how many cells of a terminal a character takes'],
  ['qrcode', ['cli/qr.ts'], 'an address or a card for a phone'],
]

/** Module of Node, the files or folders that may import it, why. */
const NODE: readonly (readonly [name: string, users: readonly string[], why: string])[] = [
  [
    'crypto',
    ['auth/crypto.ts', 'auth/key-object.ts', 'auth/private-key.ts', 'auth/container.ts', 'auth/pem.ts', 'auth/token.ts'],
    'keys, age files and signatures; a page has auth/crypto.web.ts',
  ],
  ['crypto', ['relay/prover.ts', 'relay/relay.ts'], 'proofs, and the secrets of the process'],
  ['crypto', ['transport/socks.ts'], 'isolation credentials'],
  ['crypto', ['operator/tor-control.ts'], "tor's cookie authentication"],
  ['crypto', ['handover/noise.ts', 'server.ts'], 'what is handed over is encrypted, secrets among it'],
  ['crypto', ['onion/service.ts', 'cli/commands/client.ts'], 'keys of an onion service and its clients'],
  [
    'crypto',
    ['cli/service.ts', 'cli/file.ts', 'cli/arrival.ts', 'cli/state.ts'],
    'what keys are overwritten with, and names of files that are being written',
  ],
  ['net', ['auth/agent.ts'], "the user's SSH agent"],
  ['net', ['transport/'], 'sockets are opened here'],
  ['net', ['handover/'], 'the relay before is connected to'],
  ['path', ['server.ts'], 'the folder of a socket'],
  ['net', ['operator/tor-control.ts'], "tor's control port"],
  ['net', ['server.ts', 'client/dial.ts', 'operator/probe.ts'], 'the type of a socket'],
  ['net', ['config/value.ts'], 'what an IP address is'],
  ['http', ['transport/websocket.ts'], 'the public listener'],
  ['fs', ['transport/socket.ts'], 'a unix socket is a file, and a socket has a descriptor to write to'],
  ['fs', ['server.ts', 'version.ts'], "the admitted keys, tor's hostname file, package.json: read only"],
  ['fs', ['operator/tor-control.ts'], "flags for opening tor's cookie"],
  ['fs/promises', ['operator/tor-control.ts'], "tor's cookie, read only"],
  ['events', ['transport/socks.ts', 'operator/probe.ts'], 'waiting for a socket'],
  ['path', ['config/config.ts'], 'two spellings of one path'],
  ['util', ['config/source.ts', 'cli/'], 'command lines'],
  ['url', ['cli/confinement.ts'], 'where its packages lie'],
  ['perf_hooks', ['operator/http.ts'], "the event loop's delay"],
  ['child_process', ['cli/relay.ts', 'cli/tor.ts'], 'only `asfaleia start` starts programs: tor and the relay'],
  ['child_process', ['cli/node.ts'], 'an older Node hands over to the one of the checkout'],
  ['module', ['cli/node.ts'], 'where the Node of the checkout lies'],
  ...(['events', 'fs', 'fs/promises', 'http', 'net', 'os', 'path', 'readline', 'stream', 'timers/promises', 'tty'] as const).map(
    (name) => [name, ['cli/'], 'the edge of the process: terminal, files, signals'] as const,
  ),
]

/** Where the side that runs a relay may name these of node:fs: nothing that writes a file's content. */
const READS = ['readFileSync', 'chmodSync', 'lstatSync', 'unlinkSync', 'open', 'constants']

interface Import {
  readonly file: string
  readonly from: string
  readonly type: boolean
  readonly names: string
}

const files = globSync('**/*.ts', { cwd: join(ROOT, 'src') }).map((file) => file.replaceAll('\\', '/'))

const imports: readonly Import[] = files.flatMap((file) => {
  const source = readFileSync(join(ROOT, 'src', file), 'utf8')
  const statements = [...source.matchAll(/^(?:import|export)\s+(type\s+)?([^'"`;]*?)\s*from\s+'([^']+)'/gm)].map(
    ([, type, names, from]) => ({ file, from: from!, type: type !== undefined, names: names! }),
  )
  const others = [...source.matchAll(/(?:^import\s+|\bimport\(\s*|\brequire\(\s*)'([^']+)'/gm)].map(([, from]) => ({
    file,
    from: from!,
    type: false,
    names: '',
  }))
  return [...statements, ...others]
})

function partOf(file: string): Part | undefined {
  return PARTS.find((part) => file.startsWith(part))
}

function isIn(file: string, users: readonly string[]): boolean {
  return users.some((user) => (user.endsWith('/') ? file.startsWith(user) : file === user))
}

/** `@scope/name` or `name` of what is imported from a package. */
function packageOf(from: string): string {
  return from
    .split('/')
    .slice(0, from.startsWith('@') ? 2 : 1)
    .join('/')
}

const inside = imports
  .filter(({ from }) => from.startsWith('.'))
  .map((each) => {
    const to = posix.join(posix.dirname(each.file), each.from)
    return { ...each, to, fromPart: partOf(each.file), toPart: partOf(to) }
  })
const node = imports.filter(({ from }) => from.startsWith('node:')).map((each) => ({ ...each, name: each.from.slice(5) }))
const packages = imports
  .filter(({ from }) => !from.startsWith('.') && !from.startsWith('node:'))
  .map((each) => ({ ...each, name: packageOf(each.from) }))

const say = ({ file, from, type }: Import): string => `${file} imports ${type ? 'types of ' : ''}${from}`

describe('the arrows', () => {
  it('were all found: the tree is not empty, and every file has its part', () => {
    expect(imports.length).toBeGreaterThan(100)
    expect(files.filter((file) => partOf(file) === undefined)).toEqual([])
  })

  it('lead to files that are there', () => {
    expect(inside.filter(({ to }) => !files.includes(to)).map(say)).toEqual([])
  })

  it('are those of the table', () => {
    const allowed = (each: (typeof inside)[number]): boolean =>
      each.fromPart === each.toPart ||
      ARROWS.some(([from, to, , only]) => from === each.fromPart && to === each.toPart && (only === undefined || each.type))
    expect(inside.filter((each) => !allowed(each)).map(say)).toEqual([])
  })

  it('are all needed', () => {
    const needed = ([from, to]: Arrow): boolean => inside.some((each) => each.fromPart === from && each.toPart === to)
    expect(ARROWS.filter((arrow) => !needed(arrow)).map(([from, to]) => `${from} → ${to}`)).toEqual([])
  })

  it('never go round', () => {
    // Types leave nothing behind at run time: only what is loaded counts.
    const open: string[] = []
    const done = new Set<string>()
    const rounds: string[][] = []
    const visit = (file: string): void => {
      if (open.includes(file)) rounds.push([...open.slice(open.indexOf(file)), file])
      if (done.has(file) || open.includes(file)) return
      open.push(file)
      for (const each of inside) if (each.file === file && !each.type) visit(each.to)
      open.pop()
      done.add(file)
    }
    for (const file of files) visit(file)
    expect(rounds).toEqual([])
  })
})

describe('packages', () => {
  it('are those of the table, where it says', () => {
    const allowed = packages.filter(({ name, file }) => !PACKAGES.some(([known, users]) => known === name && isIn(file, users)))
    expect(allowed.map(say)).toEqual([])
  })

  it('are all needed', () => {
    const needed = PACKAGES.flatMap(([name, users]) =>
      users.filter((user) => !packages.some((each) => each.name === name && isIn(each.file, [user]))).map((user) => `${name} in ${user}`),
    )
    expect(needed).toEqual([])
  })

  it('are installed for those who use ours', () => {
    const { dependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { dependencies: Record<string, string> }
    const loaded = packages.filter(({ type }) => !type).map(({ name }) => name)
    expect(loaded.filter((name) => !Object.hasOwn(dependencies, name))).toEqual([])
  })
})

describe("Node's modules", () => {
  it('are those of the table, where it says', () => {
    const refused = node.filter(({ name, file }) => !NODE.some(([known, users]) => known === name && isIn(file, users)))
    expect(refused.map(say)).toEqual([])
  })

  it('are all needed', () => {
    const needed = NODE.flatMap(([name, users]) =>
      users.filter((user) => !node.some((each) => each.name === name && isIn(each.file, [user]))).map((user) => `${name} in ${user}`),
    )
    expect(needed).toEqual([])
  })
})

describe('what must never be', () => {
  it('the core imports itself alone', () => {
    const foreign = imports.filter(({ file, from }) => file.startsWith('protocol/') && !from.startsWith('./'))
    expect(foreign.map(say)).toEqual([])
  })

  /** What is loaded with a file, itself included. */
  function reachedFrom(file: string, replace: (file: string) => string = (file) => file): Set<string> {
    const reached = new Set<string>()
    const visit = (file: string): void => {
      if (reached.has(file)) return
      reached.add(file)
      for (const each of inside) if (each.file === file && !each.type) visit(replace(each.to))
    }
    visit(file)
    return reached
  }

  it('the side that runs a relay loads no module that reads a private key', () => {
    const reached = reachedFrom('server.ts')
    expect(reached).toContain('auth/sshsig.ts')
    expect(reached).not.toContain('auth/private-key.ts')
    expect(reached).not.toContain('auth/agent.ts')
    expect(reached).not.toContain('auth/container.ts')
    expect(reached).not.toContain('auth/pem.ts')
    expect([...reached].filter((file) => file.startsWith('client/') || file.startsWith('cli/'))).toEqual([])
  })

  it('what a page loads needs Node, or a package that does', () => {
    const { browser } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { browser: Record<string, string> }
    const source = (built: string): string => built.replace('./dist/', '').replace(/\.js$/, '.ts')
    const replaced = new Map(Object.entries(browser).map(([from, to]) => [source(from), source(to)]))
    for (const [from, to] of replaced) expect([from.replace('.ts', '.web.ts'), files.includes(from)]).toEqual([to, true])
    expect(files.filter((file) => file.endsWith('.web.ts')).toSorted()).toEqual([...replaced.values()].toSorted())
    const reached = reachedFrom('client/core.ts', (file) => replaced.get(file) ?? file)
    expect(reached).toContain('auth/crypto.web.ts')
    expect(node.filter(({ file, type }) => reached.has(file) && !type).map(say)).toEqual([])
    const named = packages
      .filter(({ file, type }) => reached.has(file) && !type)
      .map(({ name }) => name.replace(/(?<=^@(noble|scure))\/.*/, ''))
    expect([...new Set(named)].toSorted()).toEqual(['@noble', '@scure', 'age-encryption'])
  })

  it('the side that runs a relay writes no file', () => {
    const named = node
      .filter(({ name, file }) => name.startsWith('fs') && !file.startsWith('cli/'))
      .flatMap(({ names, file }) =>
        names
          .replaceAll(/[{}\s]/g, '')
          .split(',')
          .map((name) => ({ name, file })),
      )
      .filter(({ name }) => name !== '' && !READS.includes(name))
    // To a socket's descriptor: docs/decisions/0017-one-write-a-turn.md.
    expect(named).toEqual([{ name: 'writeSync', file: 'transport/socket.ts' }])
  })

  it('a worker, a child or a virtual machine within the relay', () => {
    const modules = ['worker_threads', 'cluster', 'vm', 'inspector', 'v8', 'sqlite', 'dgram', 'dns', 'https', 'tls']
    expect(node.filter(({ name }) => modules.includes(name.replace('/promises', ''))).map(say)).toEqual([])
    expect(node.filter(({ name, file }) => name === 'child_process' && !file.startsWith('cli/')).map(say)).toEqual([])
  })
})
