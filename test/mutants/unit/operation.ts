/** Defects of the configuration, the server, the operator's listener, and the handover. */
import { type Defect, forTests } from '../defect.ts'

const HANDOVER = ['test/handover/handover.test.ts']

export const OPERATION: readonly Defect[] = [
  ...forTests(
    'src/config/config.ts',
    ['test/config/config.test.ts'],
    [
      ["flags.get('config') ?? env.get('config')", "env.get('config') ?? flags.get('config')", 'ASFALEIA_CONFIG wins over --config.'],
      [
        'flags.get(key) ?? env.get(key) ?? file.get(key)',
        'env.get(key) ?? flags.get(key) ?? file.get(key)',
        'The environment wins over flags.',
      ],
      [
        'flags.get(key) ?? env.get(key) ?? file.get(key)',
        'flags.get(key) ?? file.get(key) ?? env.get(key)',
        'The file wins over the environment.',
      ],
      ['value > connections && connections > 0 &&', 'value >= connections && connections > 0 &&', 'A share may not be all connections.'],
      ['return Math.min(value, connections)', 'return value', 'A default share is more than all connections.'],
      ['row.list ? [...new Set(values)]', 'row.list ? values', 'A name that is listed twice counts twice.'],
      ['sound && DOORS.every', 'DOORS.every', 'A door that was refused counts as missing, too.'],
      [
        "address === undefined || (address.kind === 'tcp' && address.port === 0)",
        'address === undefined',
        'Two doors may not take any free port.',
      ],
      ['normalize(address.path)', 'address.path', 'The same path in another spelling is taken for another one.'],
      ['loginSeconds < firstPacketSeconds', 'loginSeconds <= firstPacketSeconds', 'The login may not be as short as its first packet.'],
      ['config.movedFrom.some((name) => config.names.includes(name))', 'false', 'A name may be kept and left at once.'],
      ["config.strangers === 'send' && config.admit === undefined", 'false', '--strangers without --admit has no effect, silently.'],
    ],
  ),
  ...forTests(
    'src/config/value.ts',
    ['test/config/config.test.ts'],
    [
      ["host.startsWith('127.')", "host.startsWith('12')", 'The relay accepts 12.0.0.1 and 128.0.0.1 as local addresses.'],
      ['isIPv4(host) && ', '', 'The relay accepts a name that begins like loopback.'],
      ['port > 65_535)', 'port > 65_536)', 'Port 65536 is accepted.'],
      ['Buffer.byteLength(path) > SOCKET_PATH_BYTES', 'path.length > SOCKET_PATH_BYTES', 'The path of a socket is counted in characters.'],
      [
        'Buffer.byteLength(path) > SOCKET_PATH_BYTES',
        'Buffer.byteLength(path) >= SOCKET_PATH_BYTES',
        'The longest path of a socket is refused.',
      ],
      ["address?.kind === 'tcp' && address.port === 0", 'false', 'Tor may listen at port 0.'],
      ['value >= least && value <= most', 'value > least && value <= most', 'The least value of a setting is refused.'],
      ['value >= least && value <= most', 'value >= least && value < most', 'The greatest value of a setting is refused.'],
      ['&& isOnion(name)', '', 'A mistyped onion address is a name of the relay.'],
      ['const name = text.toLowerCase()', 'const name = text', 'A name in capitals is refused.'],
    ],
  ),
  ...forTests(
    'src/config/source.ts',
    ['test/config/config.test.ts'],
    [
      ["key === 'config' || !isKey(key)", '!isKey(key)', 'A config file names another config file, without an effect.'],
      [
        'else if (row.list) there.texts.push(text)\n  else problems',
        'else if (row.list) there.texts.push(text)\n  else if (false) problems',
        'Of a setting that is set twice, the first counts silently.',
      ],
      ['OTHER_VARIABLES.includes(variable)) continue', 'false) continue', 'The variable of another command is a problem.'],
      ["line === '' || line.startsWith('#')) continue", "line === '') continue", 'A config file has no comments.'],
      [".replace(/^\\uFEFF/, '')", ".replace(/^$/, '')", 'A config file with a byte order mark is refused.'],
      ['if (token.index === skipped) break\n', '', 'The value of an unknown option is a second problem.'],
    ],
  ),
  ...forTests(
    'src/server/handover-secret.ts',
    ['test/server/handover-secret.test.ts'],
    [
      ['(folder.mode & 0o022)', '(folder.mode & 0o002)', 'The folder of the handover socket may be writable by the group.'],
      ['(folder.mode & 0o022)', '(folder.mode & 0o020)', 'The folder of the handover socket may be writable by all.'],
      [
        'const isTrusted = folder.uid === process.geteuid?.() || folder.uid === 0',
        'const isTrusted = true',
        'The folder of the handover socket may belong to another user.',
      ],
      ['const FOR_OTHERS = 0o077', 'const FOR_OTHERS = 0o007', 'The group may read the secret.'],
      ['uid !== self && uid !== 0', 'uid !== 0 && false', 'The secret may belong to another user.'],
      ["&& secret.toString('base64') === text", '', 'A secret may have several spellings.'],
      ['stats.isFile() && ', '', 'A pipe in the place of the secret is waited for.', 'The test would wait for the pipe for ever.'],
    ],
  ),
  ...forTests(
    'src/server/server.ts',
    ['test/server/server.test.ts'],
    [
      [
        'if (succession !== undefined) await takeOver',
        'if (false) await takeOver',
        'A relay opens its doors without the messages of the one before.',
      ],
      [
        'for (let n = 0; n < 2; n++)',
        'for (let n = 0; n <= 2; n++)',
        'Young objects are collected three times.',
        'A third collection only takes longer.',
      ],
    ],
  ),
  ...forTests(
    'src/server/name-file.ts',
    ['test/server/name-file.test.ts', 'test/server/server.test.ts'],
    [
      ['if (now.text === text) return\n', '', 'An unchanged name is reported at every look.'],
      ["found !== 'missing' && ", '', 'A name file that is late is a problem.'],
      ['&& each !== name)', ')', 'A relay leaves its own name.'],
      ["isOnionName(name) || name === 'localhost'", 'isOnionName(name)', 'A relay cannot be localhost while Tor has no network.'],
    ],
  ),
  ...forTests(
    'src/operator/watch.ts',
    ['test/operator/watch.test.ts'],
    [
      [
        'percent > OK_PERCENT : percent < HIGH_PERCENT',
        'percent >= OK_PERCENT : percent < HIGH_PERCENT',
        'Memory is free again a percent late.',
      ],
      [
        'percent > OK_PERCENT : percent < HIGH_PERCENT',
        'percent > OK_PERCENT : percent <= HIGH_PERCENT',
        'Memory is short a percent late.',
      ],
      [
        'known?.summary === tor.summary && known.bootstrap === tor.bootstrap',
        'known?.summary === tor.summary',
        'The progress of tor’s start is not logged.',
      ],
      ['    this.#tor = tor\n', '', 'The state of tor is logged at every look.'],
    ],
  ),
  ...forTests(
    'src/operator/reachability.ts',
    ['test/operator/reachability.test.ts'],
    [
      ['age > patience) state', 'age >= patience) state', 'A report is too old a moment early.', 'The ages are fractions of seconds.'],
      ['failures: state.failures + 1', 'failures: 1', 'Failures are not counted.'],
      [
        'result.reached ? sources.everySeconds : sources.everySeconds / SOONER',
        'sources.everySeconds',
        'After a failure the next try comes as late as after a success.',
      ],
      ['if (over.signal.aborted) return\n', '', 'A stopped probe goes on.'],
      ['if (before !== result.reached) report(result, log)', 'report(result, log)', 'Every try is logged.'],
      [
        'state.reachable === undefined || state.reachable === before) return',
        'state.reachable === undefined) return',
        'Every report is logged.',
      ],
    ],
  ),
  ...forTests(
    'src/operator/probe.ts',
    ['test/operator/probe.test.ts'],
    [
      ["case 'broken':\n", '', 'A relay that breaks the protocol is waited for.'],
      ['    socket?.destroy()\n', '', 'A probe leaves its connection open.'],
      ['- sentAt) / 1_000', '- sentAt)', 'The round trip is a thousand times too long.'],
    ],
  ),
  ...forTests('src/handover/successor.ts', HANDOVER, [
    [
      'const isAll = reader.isWhole && bundles.isWhole &&',
      'const isAll = bundles.isWhole &&',
      '`end` is accepted with a begun message behind the last one.',
    ],
    [
      'const isAll = reader.isWhole && bundles.isWhole &&',
      'const isAll = reader.isWhole &&',
      '`end` is accepted with a begun bundle behind the last one.',
    ],
    ['&& reader.count === messages &&', '&&', '`end` is accepted before all messages are there.'],
    ['&& bundles.count === (size.bundles ?? 0)', '', '`end` is accepted before all bundles are there.'],
    ['|| record.messages !== messages) throw', ') throw', '`end` may name another count.'],
    ['++senders > size.senders', 'false', 'The other relay gives more limits than it announced.'],
    ['if (senders <= room) onSpent(spent)', 'onSpent(spent)', 'The limits taken over have no bound in memory.'],
    ['size.bytes > memory) throw', 'size.bytes >= memory) throw', 'A relay with exactly enough memory takes nothing over.'],
    [
      '        bytes.fill(0)\n      }\n      await',
      '      }\n      await',
      'A record with messages stays in memory.',
      'Only a dump of the memory shows it.',
    ],
    ['this.#owns = false\n      throw error', 'throw error', 'A relay that could not say so believes that it owns the messages.'],
    [
      "throw kind === 'abort' ? new HandoverError('broken') : new ChannelError('forged')",
      "if (kind !== 'abort') throw new ChannelError('forged')",
      'A relay opens its doors although the other one goes on.',
    ],
    ['if (this.#owns) return\n', '', 'A relay asks a dead one for the messages that it has.'],
    [
      "if (error.problem === 'stalled') return",
      '',
      'A relay gives up what it owns because the other one is silent.',
      'It closes the connection, and still owns the messages.',
    ],
  ]),
  ...forTests('src/handover/predecessor.ts', HANDOVER, [
    ['take.memory < handing.bytes()', 'take.memory <= handing.bytes()', 'A successor with exactly enough memory is refused.'],
    ["if (underWay !== undefined || isHandedOver) return 'busy'", "if (isHandedOver) return 'busy'", 'Two successors take over at once.'],
    ["if (underWay !== undefined || isHandedOver) return 'busy'", "if (underWay !== undefined) return 'busy'", 'A relay hands over twice.'],
    ["if (take.version !== VERSION && take.version !== OLD_VERSION) return 'version'", '', 'A successor of an unknown version takes over.'],
    ["    await this.#expect('owned')\n", '', 'The messages are erased before the successor owns them.'],
    [
      "    await this.#expect('held')\n    this.#checkIntact",
      '    this.#checkIntact',
      'The doors close before the successor has the messages.',
    ],
    [
      "if (!(await channel.isQuiet())) throw new ChannelError('ended')",
      '',
      'A stopped relay erases messages that no successor has.',
      'It needs a stop between two statements.',
    ],
    ["    for (; unread > 0; unread--) await this.#expect('read')\n", '', 'The answers to records are taken for later ones.'],
    ["await this.#send({ kind: 'done' })", '', 'A handover never ends.'],
    ['sockets.size >= SOCKETS) return Channel.turnAway(socket)', 'false) return', 'Any number of programs may connect.'],
    [
      "if (isClosing() && reason !== 'wiped') listener.stop()",
      'if (isClosing()) listener.stop()',
      'Wiped messages survive in a successor.',
    ],
    ['    handing.resume()\n', '', 'A relay whose handover failed stays suspended.'],
    [
      '      await ended\n',
      '      \n',
      'close() does not wait for the end of its connections.',
      'The path is free and each socket is destroyed before, so only a turn of the event loop differs.',
    ],
    [
      'for (const secret of [boot, token, secrets]) secret.fill(0)',
      '',
      'The secrets of a relay stay in memory.',
      'Only a dump of the memory shows it.',
    ],
    ['if (now - (logged.get(reason) ?? -Infinity) < REFUSAL_LOG_MS) return', '', 'Another program fills the log.'],
  ]),
  ...forTests(
    'src/handover/message.ts',
    ['test/handover/message.test.ts'],
    [
      ['payload > MAX_PAYLOAD_BYTES', 'payload >= MAX_PAYLOAD_BYTES', 'The longest payload cannot be handed over.'],
      ['this.#count >= this.#bounds.messages ||', '', 'More messages come than were announced.'],
      ['|| this.#bytes + payload > this.#bounds.bytes', '', 'More bytes come than were announced.'],
      ['this.#bytes + payload > this', 'this.#bytes + payload >= this', 'The announced bytes are one too many.'],
      ['BigInt(Math.max(0, Math.ceil(left)))', 'BigInt(Math.ceil(left))', 'A message that has expired breaks the handover.'],
      ['    buffer.fill(0, 0, this.#length)\n', '', 'A message handed over stays in the buffer.'],
      ['      record.fill(0)\n', '', 'The last record stays in memory.'],
      ['writeUInt32BE(id.low, ID_BYTES + 4)', 'writeUInt32BE(id.high, ID_BYTES + 4)', 'The second half of an id is lost.'],
    ],
  ),
  ...forTests(
    'src/handover/record.ts',
    ['test/handover/record.test.ts'],
    [
      ["if (body.length % SPENT_BYTES !== 0) throw new ChannelError('forged')", '', 'A list of limits may end in the middle of one.'],
      ['if (body.length !== length) throw', 'if (body.length < length) throw', 'A record may be longer than its form.'],
      ["if (!Number.isSafeInteger(value)) throw new ChannelError('forged')", '', 'A number may be too large to be exact.'],
      [
        '(MAX_RECORD_BYTES - 1) / SPENT_BYTES)',
        'MAX_RECORD_BYTES / SPENT_BYTES) + 1',
        'A record of limits is longer than a record may be.',
      ],
    ],
  ),
  ...forTests(
    'src/handover/noise.ts',
    ['test/handover/noise.test.ts'],
    [
      [
        'if (message.length < KEY_BYTES + TAG_BYTES) throw new NoiseError()',
        'if (false) throw new NoiseError()',
        'A message may be shorter than a key.',
        'The key and the decryption refuse it, too.',
      ],
      [
        '    this.#cipher?.clear()\n    this.#cipher = new Cipher(key)',
        '    \n    this.#cipher = new Cipher(key)',
        'The keys of a handshake before its last one stay in memory.',
        'Only a dump of the memory shows it: the keys never leave the module.',
      ],
    ],
  ),
  ...forTests(
    'src/handover/channel.ts',
    ['test/handover/channel.test.ts'],
    [
      ["if (expected?.includes(length) === false) throw new ChannelError('forged')", '', 'A handshake may have any length.'],
      ["if (answer.length === 1) throw new ChannelError('busy')", '', 'A busy relay seems to be another program.'],
      [
        'if (left <= 0 && this.#lateWaits-- <= 0) reject',
        'if (false) reject',
        'A peer that sends a byte now and then is waited for without an end.',
      ],
      ['Math.min(patience, left)', 'patience', 'The time for everything has no effect.'],
    ],
  ),
]
