/**
 * Which part of src/ may import which. Every arrow between parts, every package and every module of Node stands
 * here once with its reason. A new import fails the test, and so does a line that is no longer needed.
 */
import { globSync, readFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import { describe, expect, it } from 'vitest'

const ROOT = join(import.meta.dirname, '..')

/** The parts, most specific first: a file belongs to the first part that its path begins with. */
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
  'tor/process.ts',
  'tor/',
  'operator/',
  'handover/',
  'client/format/',
  'client/wire/',
  'client/delivery/',
  'client/ring/',
  'client/messenger/',
  'client/',
  'onion/address.ts',
  'onion/',
  'wording/',
  'profile/',
  'cli/program/',
  'cli/disk/',
  'cli/profile/',
  'cli/owner/',
  'cli/talk/',
  'cli/service/',
  'cli/start/',
  'cli/relay/',
  'cli/chat/',
  'cli/commands/',
  'cli/',
  'config/',
  'log.ts',
  'version.ts',
  'nearest.ts',
  'server/',
  'page/',
] as const
type Part = (typeof PARTS)[number]

/** From, to, reason. `type`: only types may be imported, so the arrow leaves nothing at run time. */
type Arrow = readonly [from: Part, to: Part, why: string, only?: 'type']

const ARROWS: readonly Arrow[] = [
  ['auth/', 'protocol/', 'a bad key is a ProtocolError; base64'],
  ['auth/private-key.ts', 'auth/', 'parses the public half with the same strict parser; X25519 conversion'],
  ['auth/private-key.ts', 'protocol/', 'turns a ProtocolError into its own error'],
  ['auth/agent.ts', 'auth/', "parses and checks an agent's answers as strictly as any other input"],
  ['auth/agent.ts', 'protocol/', 'treats a refused key as unusable, not as an error'],
  ['mailbox/', 'protocol/', 'implements the mailbox port, and keeps its limits'],
  ['relay/', 'auth/', 'proofs and tokens'],
  ['relay/', 'mailbox/', 'the relay owns the mailboxes'],
  ['relay/', 'protocol/', 'a connection drives a session'],
  ['relay/', 'relay/stream.ts', 'the stream that a door hands over', 'type'],
  ['relay/', 'relay/counters.ts', 'counts events'],
  ['relay/stream.ts', 'protocol/', 'how packets are framed', 'type'],
  ['relay/counters.ts', 'protocol/', 'counts refusals by error code'],
  ['transport/', 'relay/stream.ts', 'every door ends in a ByteStream', 'type'],
  ['transport/', 'transport/address.ts', 'the path of the WebSocket'],
  ['transport/address.ts', 'onion/address.ts', 'checks onion addresses'],
  ['transport/', 'protocol/', 'the base of coded errors'],
  ['transport/address.ts', 'protocol/', 'the base of coded errors'],
  ['transport/socks.ts', 'transport/address.ts', 'the address to dial'],
  ['tor/', 'transport/address.ts', 'the address of a control port', 'type'],
  ['tor/process.ts', 'tor/', 'speaks to the tor that it started'],
  ['operator/', 'relay/counters.ts', 'the counters that it shows', 'type'],
  ['operator/', 'transport/', 'it listens only at addresses that doors may use'],
  ['operator/', 'transport/address.ts', 'the probe dials like a client'],
  ['operator/', 'transport/socks.ts', 'the probe dials like a client'],
  ['operator/', 'tor/', "tor's state, as metrics and events", 'type'],
  ['operator/', 'protocol/', 'the probe speaks the protocol as a client'],
  ['operator/', 'log.ts', 'logs changes as events', 'type'],
  ['handover/', 'mailbox/', 'the messages that it hands over', 'type'],
  ['handover/', 'relay/', 'the budgets that it hands over', 'type'],
  ['handover/', 'transport/', 'listens at its socket as a door does'],
  ['handover/', 'transport/address.ts', 'the address of its socket', 'type'],
  ['handover/', 'log.ts', 'logs events', 'type'],
  ['client/format/', 'auth/', 'signatures, keys, and the recipients of a message'],
  ['client/format/', 'protocol/', 'base64 with its strict alphabet'],
  ['client/format/', 'transport/address.ts', 'the relays on a card'],
  ['client/format/', 'onion/address.ts', 'checks onion addresses'],
  ['client/wire/', 'auth/', 'proofs'],
  ['client/wire/', 'client/format/', 'opens a challenge; the identity that answers it'],
  ['client/wire/', 'protocol/', 'a connection drives a client session'],
  ['client/wire/', 'transport/address.ts', 'the address of a relay'],
  ['client/wire/', 'onion/address.ts', 'checks onion addresses'],
  ['client/wire/', 'transport/socks.ts', 'the way to a relay'],
  ['client/delivery/', 'auth/', 'hashes and fingerprints'],
  ['client/delivery/', 'client/format/', 'message ids, parts of a file'],
  ['client/delivery/', 'client/wire/', 'the codes of a failed delivery', 'type'],
  ['client/ring/', 'auth/', 'the keys of a ring; tags of payloads'],
  ['client/ring/', 'protocol/', 'base64 of secrets; the base of coded errors'],
  ['client/ring/', 'client/format/', 'the headers that say how to answer; ids, times and fingerprints in its text'],
  ['client/messenger/', 'auth/', 'keys of contacts, of messages and of the day; throwaway keys; fingerprints of secrets'],
  ['client/messenger/', 'client/format/', 'opens and makes messages'],
  ['client/messenger/', 'client/wire/', 'connections to relays'],
  ['client/messenger/', 'client/delivery/', 'drives the machines'],
  ['client/messenger/', 'client/ring/', 'the one-time keys of each contact'],
  ['client/messenger/', 'protocol/', 'messages as the client session returns them; the base of coded errors'],
  ['client/messenger/', 'transport/address.ts', 'compares the relays of contacts'],
  ['client/', 'client/format/', 'public names of the package'],
  ['client/', 'client/wire/', 'public names of the package'],
  ['client/', 'client/delivery/', 'public names of the package'],
  ['client/', 'client/messenger/', 'public names of the package'],
  ['client/', 'client/ring/', 'public names of the package'],
  ['client/', 'auth/', 'public names of the package'],
  ['client/', 'auth/private-key.ts', 'public names of the package, in Node'],
  ['client/', 'auth/agent.ts', 'public names of the package, in Node'],
  ['client/', 'protocol/', 'public names of the package'],
  ['client/', 'cli/talk/', 'profiles of the command line, for programs in Node'],
  ['client/', 'transport/address.ts', 'public names of the package', 'type'],
  ['wording/', 'client/format/', 'cards and contents of messages, as people read them'],
  ['wording/', 'client/wire/', 'errors of a relay'],
  ['wording/', 'client/messenger/', 'errors of the messenger; events about the clock'],
  ['wording/', 'client/delivery/', 'the states of files', 'type'],
  ['profile/', 'client/format/', 'UTF-8, and hidden characters in names'],
  ['profile/', 'protocol/', 'base64 of the files'],
  ['profile/', 'auth/', 'the keys on a card', 'type'],
  ['cli/program/', 'wording/', "makes a peer's text safe to show"],
  ['cli/disk/', 'profile/', 'the parts of a file'],
  ['cli/profile/', 'profile/', "the form of the profile's files"],
  ['cli/profile/', 'wording/', 'names, and names that look alike'],
  ['cli/talk/', 'profile/', 'names that differ only in case'],
  ['cli/talk/', 'wording/', 'names and errors, as the page shows them'],
  ['cli/chat/', 'wording/', 'names, verdicts, states and errors, as the page shows them'],
  ['cli/commands/', 'profile/', 'the one file that carries a profile; what a card says'],
  ['cli/owner/', 'profile/', 'what a card says'],
  ['cli/commands/', 'wording/', 'names and errors'],
  ['cli/disk/', 'auth/', 'ed25519 keys and public keys in files'],
  ['cli/disk/', 'auth/private-key.ts', 'every other private key'],
  ['cli/disk/', 'protocol/', 'turns a ProtocolError into an error of the command line'],
  ['cli/disk/', 'cli/program/', 'errors of the command line; the terminal asks for passphrases'],
  ['cli/profile/', 'auth/', 'keys of the user and of contacts'],
  ['cli/profile/', 'auth/agent.ts', "keys in the user's agent"],
  ['cli/profile/', 'client/format/', 'cards, groups and identities on the disk'],
  ['cli/profile/', 'client/delivery/', 'the outbox and the seen tags on the disk', 'type'],
  ['cli/profile/', 'client/ring/', 'the rings on the disk'],
  ['cli/profile/', 'client/messenger/', 'contacts as the messenger takes them'],
  ['cli/profile/', 'transport/address.ts', 'addresses that the user names'],
  ['cli/profile/', 'onion/address.ts', 'checks onion addresses'],
  ['cli/profile/', 'tor/', 'hands client keys to tor'],
  ['cli/profile/', 'cli/disk/', 'reads and writes the profile'],
  ['cli/profile/', 'cli/program/', 'errors of the command line'],
  ['cli/talk/', 'auth/', "the user's own key", 'type'],
  ['cli/talk/', 'client/format/', 'messages, as a person reads them'],
  ['cli/profile/', 'client/wire/', 'the ways to reach a relay: SOCKS, torsocks, transparent'],
  ['cli/talk/', 'client/wire/', 'connects, and explains failures'],
  ['cli/talk/', 'client/delivery/', 'parts of a file', 'type'],
  ['cli/talk/', 'client/messenger/', 'sends and receives'],
  ['cli/talk/', 'transport/address.ts', 'tells onion names from others'],
  ['cli/talk/', 'onion/address.ts', 'tells onion names from others'],
  ['cli/talk/', 'config/', 'the address of a control port'],
  ['cli/talk/', 'tor/', 'asks tor why a relay was not reached'],
  ['cli/talk/', 'cli/profile/', 'who talks'],
  ['cli/talk/', 'cli/disk/', 'files that are sent and received'],
  ['cli/talk/', 'cli/program/', 'errors and progress'],
  ['cli/owner/', 'auth/', 'keys in the lines of the socket', 'type'],
  ['cli/owner/', 'auth/agent.ts', "errors of the user's agent, in the lines of the socket"],
  ['cli/owner/', 'protocol/', 'the base of coded errors, in the lines of the socket'],
  ['cli/owner/', 'client/format/', 'keys and ids in the lines of the socket'],
  ['cli/owner/', 'client/wire/', 'errors of a relay, in the lines of the socket'],
  ['cli/owner/', 'client/delivery/', 'files, and states and limits of messages'],
  ['cli/owner/', 'client/messenger/', 'runs the messenger, and stands in for it'],
  ['cli/owner/', 'cli/profile/', 'the profile and its state'],
  ['cli/owner/', 'cli/disk/', 'the lock, and the folder of the socket'],
  ['cli/owner/', 'cli/program/', 'errors of the command line'],
  ['cli/owner/', 'version.ts', 'owner and client tell their versions'],
  ['cli/talk/', 'cli/owner/', "opens the profile's messenger"],
  ['cli/talk/', 'nearest.ts', 'suggests the name of a request'],
  ['cli/service/', 'auth/', 'opens a backup with an SSH key; the keys on the list of admitted ones'],
  ['cli/service/', 'server/', 'reads the list of admitted keys as the relay does'],
  ['cli/service/', 'config/', "the address of the operator's listener"],
  ['cli/service/', 'transport/address.ts', "the address of the operator's listener and of tor's control port", 'type'],
  ['cli/service/', 'onion/', "the onion service's keys"],
  ['cli/service/', 'tor/', 'reloads tor'],
  ['cli/service/', 'cli/disk/', "the onion service's folder"],
  ['cli/service/', 'cli/program/', 'errors of the command line'],
  ['cli/start/', 'tor/process.ts', 'runs tor'],
  ['cli/start/', 'operator/', 'greets the relay until it answers to its name'],
  ['cli/start/', 'transport/address.ts', "the relay's TCP door"],
  ['cli/start/', 'transport/socks.ts', "connects to the relay's TCP door"],
  ['cli/start/', 'cli/disk/', "the folder of tor's state"],
  ['cli/start/', 'cli/program/', 'progress on the terminal'],
  ['cli/relay/', 'cli/disk/', 'reads the memory limit of the process'],
  ['cli/relay/', 'config/', 'the settings that the checks look at, and that are options of the command line'],
  ['cli/relay/', 'transport/address.ts', 'the addresses whose folders the relay needs', 'type'],
  ['cli/relay/', 'cli/program/', 'the form of an option', 'type'],
  ['config/', 'nearest.ts', 'suggests a setting'],
  ['cli/program/', 'nearest.ts', 'suggests a command or an option'],
  ['cli/chat/', 'nearest.ts', 'suggests a command or a conversation'],
  ['cli/disk/', 'nearest.ts', 'suggests a contact or a group'],
  ['cli/relay/', 'relay/', 'the memory that the settings need'],
  ['cli/relay/', 'transport/', 'checks whether sockets bypass the buffers of Node'],
  ['cli/chat/', 'auth/', 'the key of a contact', 'type'],
  ['cli/chat/', 'client/format/', 'messages, groups and cards'],
  ['cli/chat/', 'client/messenger/', 'sends and receives', 'type'],
  ['cli/chat/', 'cli/profile/', 'contacts and groups'],
  ['cli/chat/', 'cli/talk/', 'files and refusals, worded as in `get`'],
  ['cli/chat/', 'cli/owner/', 'decides about contact requests', 'type'],
  ['cli/chat/', 'cli/disk/', 'the kept history'],
  ['cli/chat/', 'cli/program/', "makes a peer's text safe to show"],
  ['cli/commands/', 'auth/', 'keys that the user names'],
  ['cli/commands/', 'auth/private-key.ts', '`asfaleia key` makes private keys of every type'],
  ['cli/commands/', 'auth/agent.ts', '`asfaleia key` lists the keys of the agent', 'type'],
  ['cli/commands/', 'client/format/', 'cards, groups and safety words'],
  ['cli/commands/', 'client/delivery/', 'the most bytes of a file'],
  ['cli/commands/', 'client/messenger/', 'events and errors of the messenger'],
  ['cli/commands/', 'protocol/', 'the longest text that fits'],
  ['cli/commands/', 'transport/address.ts', 'addresses that the user names'],
  ['cli/commands/', 'config/', 'reads the configuration'],
  ['cli/commands/', 'log.ts', 'the relay command opens the log'],
  ['cli/commands/', 'onion/', "the operator's tasks"],
  ['cli/commands/', 'onion/address.ts', 'checks onion addresses'],
  ['cli/commands/', 'operator/', 'the status that the listener answers', 'type'],
  ['cli/commands/', 'server/', 'the relay command runs a server'],
  ['cli/commands/', 'tor/process.ts', 'start finds the tor program'],
  ['cli/commands/', 'version.ts', 'prints the version'],
  ['cli/commands/', 'cli/program/', 'the command-line framework'],
  ['cli/commands/', 'cli/disk/', 'files that the user names'],
  ['cli/commands/', 'cli/profile/', 'the profile'],
  ['cli/commands/', 'cli/owner/', 'tells the owner that the profile has changed'],
  ['cli/commands/', 'cli/talk/', 'what sending and receiving have in common'],
  ['cli/commands/', 'cli/service/', 'what the tasks of an operator have in common'],
  ['cli/commands/', 'cli/start/', 'runs the relay and tor'],
  ['cli/commands/', 'cli/relay/', 'confinement and its checks'],
  ['cli/commands/', 'cli/chat/', 'the chat'],
  ['cli/', 'cli/commands/', 'loads the module of the command that is called'],
  ['cli/', 'cli/disk/', 'words for the errors of the system'],
  ['cli/', 'cli/program/', 'the command-line framework'],
  ['cli/', 'version.ts', '--version'],
  ['config/', 'protocol/', 'default limits'],
  ['onion/address.ts', 'auth/', 'the checksum of an address'],
  ['onion/', 'protocol/', 'the base of coded errors'],
  ['onion/', 'onion/address.ts', 'the address of a key'],
  ['config/', 'relay/counters.ts', 'the names of doors'],
  ['config/', 'onion/address.ts', 'checks onion addresses'],
  ['config/', 'transport/address.ts', 'the addresses of listeners', 'type'],
  ['log.ts', 'config/', 'level and format, and the names of checks'],
  ['log.ts', 'handover/', 'the reasons of a failed handover'],
  ['log.ts', 'operator/', 'the words of the probe'],
  ['log.ts', 'tor/', "the words of tor's state"],
  ['log.ts', 'relay/counters.ts', 'the names of doors'],
  ['log.ts', 'server/', 'the mistakes in a list of admitted keys'],
  ['log.ts', 'version.ts', 'the version is a field'],
  ['server/', 'auth/', 'the file of admitted keys'],
  ['server/', 'config/', 'the configuration'],
  ['server/', 'handover/', 'hands over to the next relay, and takes over from the one before'],
  ['server/', 'log.ts', 'events', 'type'],
  ['server/', 'operator/', "the operator's listener"],
  ['server/', 'relay/', 'the relay'],
  ['server/', 'relay/counters.ts', 'the names of doors', 'type'],
  ['server/', 'tor/', "tor's state"],
  ['server/', 'transport/', 'the doors'],
  ['server/', 'transport/address.ts', 'the addresses of doors', 'type'],
  ['page/', 'auth/', 'makes and reads the key; signs'],
  ['page/', 'protocol/', 'the errors of a bare key in a profile'],
  ['page/', 'client/format/', 'cards, invites, safety words; encrypts the saved file'],
  ['page/', 'client/delivery/', 'tags of received messages in the saved file; the sources of files'],
  ['page/', 'client/messenger/', 'sends and receives'],
  ['page/', 'client/ring/', 'the rings as texts'],
  ['page/', 'profile/', "the form of a profile's files"],
  ['page/', 'wording/', 'names, verdicts, states and errors, as the chat shows them'],
  ['page/', 'onion/address.ts', 'recognises the relay that served it'],
  ['page/', 'version.ts', 'shows the version'],
]

/** Package, the files or folders that may import it, reason. */
const PACKAGES: readonly (readonly [name: string, users: readonly string[], why: string])[] = [
  ['@noble/curves', ['onion/service.ts'], 'points that node:crypto does not multiply'],
  ['@noble/curves', ['auth/crypto.web.ts'], 'what node:crypto does in Node'],
  ['@noble/post-quantum', ['auth/crypto.web.ts'], 'ML-KEM, which node:crypto has in Node'],
  ['@noble/ciphers', ['auth/crypto.web.ts'], 'what node:crypto does in Node'],
  ['@noble/ciphers', ['auth/container.ts'], 'Poly1305 alone, as OpenSSH uses it'],
  ['@noble/hashes', ['auth/crypto.web.ts'], 'what node:crypto does in Node'],
  [
    'age-encryption',
    ['auth/age-ssh.ts', 'auth/age-hybrid.ts', 'auth/age-chunk.ts', 'client/format/envelope.ts', 'client/format/identity.ts'],
    "clients' messages",
  ],
  ['@scure/bip39', ['client/format/safety.ts'], 'words that people can tell apart when they hear them'],
  [
    '@scure/base',
    [
      'auth/age-hybrid.ts',
      'client/format/answer.ts',
      'client/ring/keys.ts',
      'client/messenger/secrets.ts',
      'client/format/field.ts',
      'client/format/card.ts',
      'client/format/group.ts',
      'client/format/passphrase.ts',
      'client/delivery/seen.ts',
    ],
    'strict base64url and bech32, in a page too',
  ],
  [
    '@scure/base',
    ['onion/address.ts', 'cli/profile/onions.ts', 'cli/service/members.ts', 'client/format/invite.ts'],
    'base32, as tor writes addresses and keys',
  ],
  ['age-encryption', ['onion/backup.ts', 'cli/commands/backup.ts', 'cli/service/unlock.ts'], 'backups'],
  ['sshpk', ['auth/private-key.ts'], 'what stands in OpenSSH private keys'],
  ['bcrypt-pbkdf', ['auth/container.ts'], 'passphrases of OpenSSH private keys: a round at a time, which sshpk does not give'],
  ['jsonwebtoken', ['auth/token.ts'], 'tokens'],
  ['fastify', ['transport/page.ts', 'operator/http.ts'], 'HTTP'],
  ['@fastify/websocket', ['transport/upgrade.ts'], 'WebSockets'],
  ['ws', ['transport/upgrade.ts'], 'the class that @fastify/websocket makes of an upgraded socket'],
  ['prom-client', ['operator/metrics.ts'], 'the text of metrics'],
  ['pino', ['log.ts'], 'the log'],
  ['string-width', ['cli/program/width.ts'], 'how many cells of a terminal a character takes'],
  ['preact', ['page/'], 'the elements of the web page'],
  ['qr', ['cli/program/qr.ts', 'page/parts.tsx'], 'an address or a card as a code for a phone'],
]

/** Module of Node, the files or folders that may import it, reason. */
const NODE: readonly (readonly [name: string, users: readonly string[], why: string])[] = [
  [
    'crypto',
    ['auth/crypto.ts', 'auth/key-object.ts', 'auth/private-key.ts', 'auth/container.ts', 'auth/pem.ts', 'auth/token.ts', 'auth/secret.ts'],
    'keys, age files and signatures; a page has auth/crypto.web.ts',
  ],
  ['crypto', ['relay/prover.ts', 'relay/relay.ts'], 'proofs, and the secrets of the process'],
  ['os', ['relay/clock.ts'], 'a clock that runs on while the machine is suspended'],
  ['crypto', ['transport/socks.ts'], 'isolation credentials'],
  ['crypto', ['tor/control.ts'], "tor's cookie authentication"],
  ['crypto', ['handover/noise.ts', 'server/'], 'what is handed over is encrypted, secrets among it'],
  ['crypto', ['onion/service.ts', 'cli/service/members.ts'], 'keys of an onion service and its members'],
  [
    'crypto',
    ['cli/service/folder.ts', 'cli/profile/rings.ts', 'cli/disk/file.ts', 'cli/disk/lock.ts', 'cli/owner/place.ts', 'cli/talk/arrival.ts'],
    'what keys are overwritten with, and names of files that are being written',
  ],
  ['net', ['auth/agent.ts'], "the user's SSH agent"],
  ['net', ['transport/'], 'sockets are opened here'],
  ['net', ['handover/'], 'the relay before is connected to'],
  ['path', ['server/'], 'the folder of a socket'],
  ['net', ['tor/control.ts'], "tor's control port"],
  ['net', ['server/', 'client/wire/dial.ts', 'operator/probe.ts'], 'the type of a socket'],
  ['net', ['config/value.ts'], 'what an IP address is'],
  ['http', ['transport/page.ts'], 'the public listener'],
  ['fs', ['client/wire/dial.ts'], 'finds out whether torsocks is loaded: read only'],
  ['fs', ['transport/socket.ts'], 'a unix socket is a file, and a socket has a descriptor to write to'],
  ['fs', ['server/', 'version.ts'], "the admitted keys, tor's hostname file, package.json: read only"],
  ['fs', ['tor/control.ts'], "flags for opening tor's cookie"],
  ['fs/promises', ['tor/control.ts'], "tor's cookie, read only"],
  ['events', ['transport/socks.ts', 'operator/probe.ts'], 'waiting for a socket'],
  ['path', ['config/config.ts'], 'two spellings of one path'],
  ['util', ['config/source.ts', 'cli/'], 'command lines'],
  ['url', ['cli/relay/confinement.ts', 'cli/relay/page-file.ts'], 'where its packages and the web page lie'],
  ['perf_hooks', ['operator/http.ts'], "the event loop's delay"],
  ['child_process', ['cli/start/relay-process.ts', 'tor/process.ts'], 'only `asfaleia start` starts programs: tor and the relay'],
  ['child_process', ['cli/node.ts'], 'an older Node hands over to the one of the checkout'],
  ...(['events', 'fs/promises', 'path', 'readline'] as const).map(
    (name) => [name, ['tor/process.ts'], 'runs tor in a folder of its own'] as const,
  ),
  ['zlib', ['cli/program/qr.ts'], 'the code as a PNG picture'],
  ['zlib', ['server/page-file.ts', 'cli/talk/web-page.ts'], 'the web page, compressed once'],
  ['module', ['cli/node.ts'], 'where the Node of the checkout lies'],
  ...(['events', 'fs', 'fs/promises', 'http', 'net', 'os', 'path', 'readline', 'stream', 'timers/promises', 'tty'] as const).map(
    (name) => [name, ['cli/'], 'the edge of the process: terminal, files, signals'] as const,
  ),
]

/** The names of node:fs that the side that runs a relay may import: none of them writes a file's content. */
const READS = ['readFileSync', 'chmodSync', 'lstatSync', 'statSync', 'unlinkSync', 'open', 'constants']

interface Import {
  readonly file: string
  readonly from: string
  readonly type: boolean
  /** Imported by `import()`. */
  readonly lazy: boolean
  readonly names: string
}

const files = globSync('**/*.{ts,tsx}', { cwd: join(ROOT, 'src') }).map((file) => file.replaceAll('\\', '/'))

const imports: readonly Import[] = files.flatMap((file) => {
  const source = readFileSync(join(ROOT, 'src', file), 'utf8')
  const statements = [...source.matchAll(/^(?:import|export)\s+(type\s+)?([^'"`;]*?)\s*from\s+'([^']+)'/gm)].map(
    ([, type, names, from]) => ({ file, from: from!, type: type !== undefined, lazy: false, names: names! }),
  )
  const others = [...source.matchAll(/(?:^import\s+|\bimport\(\s*|\brequire\(\s*)'([^']+)'/gm)].map(([how, from]) => ({
    file,
    from: from!,
    type: false,
    lazy: how.startsWith('import('),
    names: '',
  }))
  return [...statements, ...others]
})

/** Whether only commands load the file, never the relay: such files may write files and start programs. */
function isCommandSide(file: string): boolean {
  return file.startsWith('cli/') || file === 'tor/process.ts'
}

function partOf(file: string): Part | undefined {
  return PARTS.find((part) => file.startsWith(part))
}

function isIn(file: string, users: readonly string[]): boolean {
  return users.some((user) => (user.endsWith('/') ? file.startsWith(user) : file === user))
}

/** Returns `@scope/name` or `name` of an imported package. */
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

describe('imports between parts', () => {
  it('were all found: the tree is not empty, and every file belongs to a part', () => {
    expect(imports.length).toBeGreaterThan(100)
    expect(files.filter((file) => partOf(file) === undefined)).toEqual([])
  })

  it('lead to existing files', () => {
    expect(inside.filter(({ to }) => !files.includes(to)).map(say)).toEqual([])
  })

  it('are listed in the table', () => {
    const allowed = (each: (typeof inside)[number]): boolean =>
      each.fromPart === each.toPart ||
      ARROWS.some(([from, to, , only]) => from === each.fromPart && to === each.toPart && (only === undefined || each.type))
    expect(inside.filter((each) => !allowed(each)).map(say)).toEqual([])
  })

  it('are all still needed', () => {
    const needed = ([from, to]: Arrow): boolean => inside.some((each) => each.fromPart === from && each.toPart === to)
    expect(ARROWS.filter((arrow) => !needed(arrow)).map(([from, to]) => `${from} → ${to}`)).toEqual([])
  })

  it.each([
    ['at run time', ({ type }: Import) => !type],
    // A reader has to follow types, too. The table of commands loads each command lazily, and a command may
    // name the table.
    ['between types', ({ lazy }: Import) => !lazy],
  ])('form no cycle %s', (_where, counts) => {
    const open: string[] = []
    const done = new Set<string>()
    const rounds: string[][] = []
    const visit = (file: string): void => {
      if (open.includes(file)) rounds.push([...open.slice(open.indexOf(file)), file])
      if (done.has(file) || open.includes(file)) return
      open.push(file)
      for (const each of inside) if (each.file === file && counts(each)) visit(each.to)
      open.pop()
      done.add(file)
    }
    for (const file of files) visit(file)
    expect(rounds).toEqual([])
  })
})

describe('imports of packages', () => {
  it('are listed in the table with their places', () => {
    const allowed = packages.filter(({ name, file }) => !PACKAGES.some(([known, users]) => known === name && isIn(file, users)))
    expect(allowed.map(say)).toEqual([])
  })

  it('are all still needed', () => {
    const needed = PACKAGES.flatMap(([name, users]) =>
      users.filter((user) => !packages.some((each) => each.name === name && isIn(each.file, [user]))).map((user) => `${name} in ${user}`),
    )
    expect(needed).toEqual([])
  })

  it('are dependencies of this package if loaded at run time', () => {
    const { dependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { dependencies: Record<string, string> }
    // The packages of the web page are in its file.
    const loaded = packages.filter(({ type, file }) => !type && !file.startsWith('page/')).map(({ name }) => name)
    expect(loaded.filter((name) => !Object.hasOwn(dependencies, name))).toEqual([])
  })
})

describe("imports of Node's modules", () => {
  it('are listed in the table with their places', () => {
    const refused = node.filter(({ name, file }) => !NODE.some(([known, users]) => known === name && isIn(file, users)))
    expect(refused.map(say)).toEqual([])
  })

  it('are all still needed', () => {
    const needed = NODE.flatMap(([name, users]) =>
      users.filter((user) => !node.some((each) => each.name === name && isIn(each.file, [user]))).map((user) => `${name} in ${user}`),
    )
    expect(needed).toEqual([])
  })
})

describe('forbidden imports', () => {
  it('protocol/ imports only itself', () => {
    const foreign = imports.filter(({ file, from }) => file.startsWith('protocol/') && !from.startsWith('./'))
    expect(foreign.map(say)).toEqual([])
  })

  /** Returns all files loaded with a file, itself included. */
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
    const reached = reachedFrom('server/server.ts')
    expect(reached).toContain('auth/sshsig.ts')
    expect(reached).not.toContain('auth/private-key.ts')
    expect(reached).not.toContain('auth/agent.ts')
    expect(reached).not.toContain('auth/container.ts')
    expect(reached).not.toContain('auth/pem.ts')
    expect([...reached].filter((file) => file.startsWith('client/') || file.startsWith('cli/'))).toEqual([])
  })

  it('a page loads neither a module of Node nor a package that needs one', () => {
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

  it('the side that runs a relay imports no function that writes files', () => {
    const named = node
      .filter(({ name, file }) => name.startsWith('fs') && !isCommandSide(file))
      .flatMap(({ names, file }) =>
        names
          .replaceAll(/[{}\s]/g, '')
          .split(',')
          .map((name) => ({ name, file })),
      )
      .filter(({ name }) => name !== '' && !READS.includes(name))
    // It writes to a socket's descriptor: docs/decisions/0017-one-write-a-turn.md.
    expect(named).toEqual([{ name: 'writeSync', file: 'transport/socket.ts' }])
  })

  it('the side that runs a relay imports no worker, child process or virtual machine', () => {
    const modules = ['worker_threads', 'cluster', 'vm', 'inspector', 'v8', 'sqlite', 'dgram', 'dns', 'https', 'tls']
    expect(node.filter(({ name }) => modules.includes(name.replace('/promises', ''))).map(say)).toEqual([])
    expect(node.filter(({ name, file }) => name === 'child_process' && !isCommandSide(file)).map(say)).toEqual([])
  })
})

describe('the length of files', () => {
  const MOST_LINES = 350
  const long = files.filter((file) => readFileSync(join(ROOT, 'src', file), 'utf8').split('\n').length - 1 > MOST_LINES)

  it('is at most 350 lines, except for four files', () => {
    expect(long.length).toBeLessThanOrEqual(4)
  })

  it.each(long)('has a reason in the first comment if it is more: %s', (file) => {
    const [first] = /^\/\*\*[^]*?\*\//.exec(readFileSync(join(ROOT, 'src', file), 'utf8')) ?? []
    expect(first).toContain('Over 350 lines: ')
  })
})
