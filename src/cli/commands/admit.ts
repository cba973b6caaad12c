/** `asfaleia admit`: changes and checks the list of keys that may log in to a relay (`--admit` of `asfaleia relay`). */
import { readFile, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { formatKey, fingerprintOf } from '../../client/format/field.ts'
import { describeMistake, MISTAKES } from '../../server/mistake.ts'
import { readCommandLine } from '../program/arguments.ts'
import { CliError, UsageError } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'
import { alignColumn, formatJson, sanitizeLine } from '../program/show.ts'
import type { Page } from '../program/page.ts'
import { give, ownerOf, rewrite, writeWhole } from '../disk/file.ts'
import { refuseFile } from '../../profile/entry.ts'
import { takeLock } from '../disk/lock.ts'
import { systemCode, systemReason } from '../disk/system.ts'
import { readIntroduction } from '../profile/introduction.ts'
import { appendLine, type KeyList, readKeyList, removeRows, type Row } from '../service/key-list.ts'
import { formatUntil, parseUntil } from '../service/until.ts'

const JSON_OPTION = { json: { about: 'print one JSON object a line' } } as const

export const page = {
  name: 'admit',
  shared: { admit: { value: 'FILE', about: 'the list, as `asfaleia relay --admit` has it', variable: 'ASFALEIA_ADMIT' } },
  text: `
    Changes the list of keys that may log in to a relay. The list is a file like sshd's authorized_keys; comments and the order of its
    lines stay. The relay reads it again within 6 seconds, and ends the connections of keys that are gone.`,
  verbs: {
    add: {
      summary: 'let a key in',
      words: ['KEY|CARD|LINK'],
      options: {
        name: { value: 'NAME', about: 'the comment of the line; by default the name on the card' },
        until: { value: 'DATE', about: 'the last day, such as 2027-01-31 (UTC), or a time from now, such as 30d' },
        'send-only': { about: 'the key has no mailbox' },
        'receive-only': { about: 'the key may not send' },
      },
      text: 'Takes a public key in quotes, the link of a card, a file with one of these, or `-` for standard input.',
      examples: [['let Alice in until the end of January', 'asfaleia admit add alice.card --until 2027-01-31']],
    },
    list: {
      summary: 'list the keys',
      options: JSON_OPTION,
      examples: [['list the keys and their rights', 'asfaleia admit list']],
    },
    remove: {
      summary: 'take a key off the list',
      words: ['NAME|SHA256:…'],
      text: 'The relay ends the connections of the key, and erases its mailbox.',
      examples: [['take Alice off the list', 'asfaleia admit remove Alice']],
    },
    check: {
      summary: 'report every mistake in the list',
      text: 'Exits with 0 if there are none. While the list has a mistake, the relay goes on with the former list.',
      examples: [['check the list after you edited it', 'asfaleia admit check']],
    },
  },
  examples: [['let a key in', "asfaleia admit add 'ssh-ed25519 AAAA…' --name Bob"]],
} as const satisfies Page

const MOST_BYTES = 64 * 2 ** 20

export async function run(argv: string[], io: Io): Promise<number> {
  const given = readCommandLine(argv, io, page)
  if (given === undefined) return EXIT.ok
  const path = given.values.admit ?? (io.env['ASFALEIA_ADMIT'] || undefined)
  if (path === undefined) throw new UsageError('--admit is missing', { hint: 'name the list with --admit FILE or ASFALEIA_ADMIT' })
  switch (given.verb) {
    case 'add': {
      const { name, until, 'send-only': send, 'receive-only': receive } = given.values
      if (send === true && receive === true) throw new UsageError('--send-only and --receive-only exclude each other', { hint: given.hint })
      const expires = until === undefined ? undefined : parseUntil(until, Date.now())
      const introduced = await readIntroduction(given.words[0], io)
      const { key } = introduced.kind === 'card' ? introduced.card : introduced
      const comment = checkName(name ?? (introduced.kind === 'card' ? introduced.card.name : ''))
      const options = [
        ...(send === true ? ['send-only'] : receive === true ? ['receive-only'] : []),
        ...(expires === undefined ? [] : [`expiry-time="${formatExpiry(expires)}"`]),
      ]
      const line = [...(options.length > 0 ? [options.join(',')] : []), formatKey(key), ...(comment === '' ? [] : [comment])].join(' ')
      const fingerprint = fingerprintOf(key)
      await change(path, io, (bytes, { rows }) => {
        const known = rows.find((row) => row.fingerprint === fingerprint)
        if (known === undefined) return appendLine(bytes, line)
        throw new CliError(`line ${known.line.number} of the list has this key already`, {
          hint: `to give it other rights, first \`asfaleia admit remove ${fingerprint}\``,
        })
      })
      io.stdout.write(`added ${describe(comment, fingerprint)}\n`)
      return EXIT.ok
    }
    case 'remove': {
      const [word] = given.words
      let removed: readonly Row[] = []
      await change(path, io, (bytes, { rows }) => {
        removed = find(rows, word)
        return removeRows(bytes, removed)
      })
      const { name, fingerprint } = removed[0]!
      io.stdout.write(`removed ${describe(name, fingerprint)}\n`)
      return EXIT.ok
    }
    case 'list': {
      const list = readKeyList(await read(path))
      if (given.values.json === true) for (const row of list.rows) io.stdout.write(`${formatJson(toJson(row))}\n`)
      else io.stdout.write(await formatRows(list.rows))
      warn(list, io)
      return EXIT.ok
    }
    case 'check': {
      const { rows, mistakes } = readKeyList(await read(path))
      for (const mistake of mistakes) io.stdout.write(`${describeMistake(mistake)}: ${MISTAKES[mistake.what][1]}\n`)
      if (mistakes.length === 0) io.stdout.write(`${rows.length} key${rows.length === 1 ? '' : 's'}, no mistakes\n`)
      return mistakes.length === 0 ? EXIT.ok : EXIT.failed
    }
  }
}

/** The comment of a line ends at the line's end, and a person reads it. */
function checkName(name: string): string {
  const unfit = name === '' ? undefined : refuseFile(name)
  if (unfit !== undefined) throw new UsageError(unfit, { hint: 'choose another name with --name' })
  return name
}

function describe(name: string, fingerprint: string): string {
  return name === '' ? fingerprint : `${sanitizeLine(name)} ${fingerprint}`
}

/** Writes a time as expiry-time takes it: `20270131120000Z`. */
function formatExpiry(time: number): string {
  return `${new Date(time).toISOString().replace(/[-:T]|\.\d+Z/g, '')}Z`
}

async function read(path: string): Promise<Uint8Array> {
  const found = await readIfThere(path)
  if (found === undefined) throw new CliError(`no such file: ${path}`, { hint: '`asfaleia admit add` makes it' })
  return found
}

async function readIfThere(path: string): Promise<Uint8Array | undefined> {
  try {
    const found = await stat(path)
    if (!found.isFile()) throw new CliError(`cannot read ${path}: it is not a regular file`)
    if (found.size > MOST_BYTES) throw new CliError(`cannot read ${path}: it is larger than 64 MiB`)
    return await readFile(path)
  } catch (error) {
    if (error instanceof CliError) throw error
    if (systemCode(error) === 'ENOENT') return undefined
    throw new CliError(`cannot read ${path}: ${systemReason(error)}`, { hint: 'run this as its owner' })
  }
}

/** Changes the list under a lock: of two operators at a time, neither overwrites the other's line. */
async function change(path: string, io: Io, edit: (bytes: Uint8Array, list: KeyList) => Uint8Array): Promise<void> {
  const lock = await takeLock(`${path}.lock`)
  if (typeof lock === 'number') throw new CliError('another process changes the list', { hint: `wait for process ${lock}, and try again` })
  try {
    const bytes = await readIfThere(path)
    const before = bytes ?? new Uint8Array()
    const after = edit(before, readKeyList(before))
    if (bytes !== undefined) await rewrite(path, after)
    else {
      await writeWhole(path, after, { replace: false })
      await give(path, await ownerOf(dirname(path)))
    }
    warn(readKeyList(after), io)
  } finally {
    await lock.release()
  }
}

function warn({ mistakes }: KeyList, io: Io): void {
  const [first] = mistakes
  if (first === undefined) return
  io.stderr.write(
    `asfaleia: warning: ${describeMistake(first)}, so a relay goes on with its former list; \`asfaleia admit check\` lists all mistakes\n`,
  )
}

/** Finds all lines of a key, by its fingerprint or by a name that no other key has. @throws {CliError} */
function find(rows: readonly Row[], word: string): readonly Row[] {
  const [first, ...others] = new Set(
    rows.filter(({ name, fingerprint }) => name === word || fingerprint === word).map((row) => row.fingerprint),
  )
  if (first === undefined)
    throw new CliError('no key on the list has this name or fingerprint', { hint: '`asfaleia admit list` shows them' })
  if (others.length > 0) {
    throw new CliError(`${others.length + 1} keys have this name`, {
      hint: `name one by its fingerprint: ${[first, ...others].join(', ')}`,
    })
  }
  return rows.filter(({ fingerprint }) => fingerprint === first)
}

async function formatRows(rows: readonly Row[]): Promise<string> {
  const names = await alignColumn(
    rows.map(({ name }) => sanitizeLine(name)),
    32,
  )
  return rows.map((row, index) => `${[names[index], row.fingerprint, ...listRights(row)].join('  ')}\n`).join('')
}

function listRights({ entry, line }: Row): string[] {
  if (entry === undefined) return [`line ${line.number} is a mistake`]
  const { only, expires, perSender, places, mustVerify } = entry
  const rights = [
    ...(only === undefined ? [] : [`${only}-only`]),
    ...(expires === undefined ? [] : [`${expires <= Date.now() ? 'expired' : 'until'} ${formatUntil(expires)}`]),
    ...(perSender === undefined ? [] : [`${perSender} bytes an hour`]),
    ...(places === undefined ? [] : [`${places} messages`]),
    ...(mustVerify === true ? ['verify-required'] : []),
  ]
  return rights.length === 0 ? [] : [rights.join(', ')]
}

function toJson({ name, fingerprint, type, line, entry }: Row): object {
  if (entry === undefined) return { name, fingerprint, type, line: line.number, mistake: true }
  const { only, expires, perSender, places, mustVerify } = entry
  return {
    name,
    fingerprint,
    type,
    line: line.number,
    ...(only !== undefined && { only }),
    ...(expires !== undefined && { until: new Date(expires).toISOString() }),
    ...(perSender !== undefined && { perSender }),
    ...(places !== undefined && { mailbox: places }),
    ...(mustVerify === true && { verifyRequired: true }),
  }
}
