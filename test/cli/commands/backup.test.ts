/** `asfaleia backup` and `asfaleia restore`, also together with the programs age and tar. */
import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { generateX25519Identity, identityToRecipient } from 'age-encryption'
import { beforeEach, describe, expect, test } from 'vitest'
import { generatePrivateKey } from '../../../src/auth/private-key.ts'
import { asfaleia, type Outcome } from '../../support/command.ts'
import { checkScryptMemory } from '../../../src/cli/service/unlock.ts'
import { ASFALEIA, run } from '../../support/process.ts'
import { missing } from '../../support/programs.ts'
import { CLIENT, list, scratch, TORS, writeService } from '../../support/service.ts'

const ADDRESS = 'd6d5iaoxegv6q2ku3rsog2yybgdn74deulgwkrqlsyzb25ovulh6gzad.onion'
const isRoot = process.getuid?.() === 0
/** scrypt with age's parameters takes a second or two. */
const SLOW = 60_000

let around: string
let folder: string
let recipient: string
let identity: string
let file: string

beforeEach(async () => {
  around = scratch()
  folder = writeService(around, 'onion', new Map([...TORS, ['authorized_clients/alice.auth', CLIENT]])).folder
  const secret = await generateX25519Identity()
  recipient = await identityToRecipient(secret)
  identity = join(around, 'identity')
  writeFileSync(identity, `# a key\n${secret}\n`, { mode: 0o600 })
  file = join(around, 'backup.age')
})

const backup = (...more: string[]): Promise<Outcome> => asfaleia(['backup', '--service', folder, '--out', file, ...more])
const restore = (...more: string[]): Promise<Outcome> => asfaleia(['restore', file, '--to', join(around, 'new'), ...more])
const secret = TORS.get('hs_ed25519_secret_key')!

function passphraseFile(text = 'correct horse\n'): { ASFALEIA_PASSPHRASE_FILE: string } {
  const path = join(around, 'passphrase')
  writeFileSync(path, text, { mode: 0o600 })
  return { ASFALEIA_PASSPHRASE_FILE: path }
}

describe('a backup restores', () => {
  test('with an age identity', async () => {
    expect(await backup('--to', recipient)).toEqual({ code: 0, out: `backed up ${ADDRESS}, with 1 authorized client\n`, err: '' })
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(readFileSync(file).includes(secret.subarray(32, 48))).toBe(false)
    const verified = await asfaleia(['backup', '--verify', file, '--identity', identity])
    expect(verified).toEqual({ code: 0, out: `a good backup of ${ADDRESS}, with 1 authorized client\n`, err: '' })
    expect(readdirSync(around).toSorted()).toEqual(['backup.age', 'identity', 'onion'])
    expect(await restore('--identity', identity)).toEqual({ code: 0, out: `restored ${ADDRESS} to ${join(around, 'new')}\n`, err: '' })
    expect(list(join(around, 'new'))).toEqual(list(folder))
    expect(statSync(join(around, 'new')).mode & 0o777).toBe(0o700)
  })

  test('with an SSH key, and with each of several recipients', async () => {
    const ssh = join(around, 'ssh')
    const made = generatePrivateKey('')
    writeFileSync(ssh, made.file, { mode: 0o600 })
    writeFileSync(join(around, 'recipients'), `# both\n${recipient}\n\n${made.public}\n`)
    expect(await backup('--to', join(around, 'recipients'))).toMatchObject({ code: 0 })
    for (const by of [ssh, identity]) expect(await asfaleia(['backup', '--verify', file, '--identity', by])).toMatchObject({ code: 0 })
    rmSync(file)
    expect(await backup('--to', made.public, '--to', recipient)).toMatchObject({ code: 0 })
    for (const by of [ssh, identity]) expect(await asfaleia(['backup', '--verify', file, '--identity', by])).toMatchObject({ code: 0 })
  })

  test('with its passphrase, while a wrong one writes nothing', { timeout: SLOW }, async () => {
    const env = passphraseFile()
    expect(await asfaleia(['backup', '--service', folder, '--out', file, '--passphrase'], { env })).toMatchObject({ code: 0, err: '' })
    const wrong = await asfaleia(['restore', file, '--to', join(around, 'new')], { env: passphraseFile('correct horsf\n') })
    expect(wrong).toEqual({
      code: 1,
      out: '',
      err: `asfaleia: error: ${file}: the passphrase is wrong, or the beginning of the file is damaged\nasfaleia: hint: nothing was written\n`,
    })
    expect(existsSync(join(around, 'new'))).toBe(false)
    const right = await asfaleia(['restore', file, '--to', join(around, 'new'), '--json'], { env: passphraseFile() })
    expect([right.code, JSON.parse(right.out)]).toEqual([0, { address: ADDRESS, clients: 1, folder: join(around, 'new') }])
  })

  test('through pipes, by standard output and input', async () => {
    const env = { ASFALEIA_SERVICE: folder }
    const program = ASFALEIA.map((part) => `'${part}'`).join(' ')
    const { code, stdout } = await run(
      ['sh', '-c', `${program} backup --to ${recipient} --out - | ${program} backup --verify - --identity ${identity}`],
      { env },
    )
    expect([code, stdout]).toEqual([0, `a good backup of ${ADDRESS}, with 1 authorized client\n`])
  })
})

describe('the programs age and tar', () => {
  const reason = missing('age', 'tar')
  beforeEach((ctx) => ctx.skip(reason !== undefined, reason))

  test('unpack our backups', async () => {
    expect(await backup('--to', recipient)).toMatchObject({ code: 0 })
    mkdirSync(join(around, 'new'))
    execFileSync('sh', ['-c', 'age -d -i "$0" "$1" | tar -x -C "$2"', identity, file, join(around, 'new')])
    expect(list(join(around, 'new'))).toEqual(list(folder))
  })

  test('make backups that we restore', async () => {
    execFileSync('sh', ['-c', 'tar -c -C "$0" . | age -r "$1" -a -o "$2"', folder, recipient, file])
    expect(await restore('--identity', identity)).toMatchObject({ code: 0 })
    expect(list(join(around, 'new'))).toEqual(list(folder))
  })
})

describe('backup and restore never overwrite', () => {
  test('a file in place of the backup', async () => {
    writeFileSync(file, 'mine')
    expect(await backup('--to', recipient)).toEqual({
      code: 1,
      out: '',
      err: `asfaleia: error: cannot write ${file}: it already exists\n`,
    })
    expect(readFileSync(file, 'utf8')).toBe('mine')
  })

  test.each<[string, (path: string) => void]>([
    [
      'a folder with something in it',
      (path) => {
        mkdirSync(path)
        writeFileSync(join(path, 'hostname'), 'mine')
      },
    ],
    ['a file', (path) => writeFileSync(path, 'mine')],
  ])('%s in place of the service', async (_name, put) => {
    await backup('--to', recipient)
    put(join(around, 'new'))
    const before = list(around)
    const { code, err } = await restore('--identity', identity)
    expect([code, err]).toEqual([1, expect.stringContaining(`cannot write ${join(around, 'new')}: it already exists`)])
    expect(list(around)).toEqual(before)
  })

  test('anything, but restore may use an empty folder', async () => {
    await backup('--to', recipient)
    mkdirSync(join(around, 'new'))
    expect(await restore('--identity', identity)).toMatchObject({ code: 0 })
  })
})

describe('on a bad day', () => {
  test('the identity comes on standard input, before the backup or without it, and on a pipe', async () => {
    expect((await backup('--to', recipient)).code).toBe(0)
    const good = { code: 0, stdout: `a good backup of ${ADDRESS}, with 1 authorized client\n` }
    const verify = (path: string): string => `'${process.execPath}' ${ASFALEIA.slice(1).join(' ')} backup --verify ${path} --identity`
    const shell = (line: string) => run(['bash', '-c', line])
    expect(await shell(`cat ${identity} ${file} | ${verify('-')} -`)).toMatchObject(good)
    expect(await shell(`cat ${identity} | ${verify(file)} -`)).toMatchObject(good)
    expect(await shell(`${verify(file)} <(cat ${identity})`)).toMatchObject(good)
    expect(await shell(`cat ${identity} | ${verify('-')} -`)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('not an age file') as string,
    })
  })

  test('a passphrase comes on standard input, before the backup', { timeout: SLOW }, async () => {
    expect((await asfaleia(['backup', '--service', folder, '--out', file, '--passphrase'], { env: passphraseFile() })).code).toBe(0)
    const line = `(echo 'correct horse'; cat ${file}) | '${process.execPath}' ${ASFALEIA.slice(1).join(' ')} backup --verify - --identity -`
    expect(await run(['bash', '-c', line])).toMatchObject({ code: 0 })
  })

  test('too little memory for a passphrase is an error, since the system would kill the process without a word', () => {
    const files: Record<string, string> = { '/proc/self/cgroup': '0::/\n', '/sys/fs/cgroup/memory.max': `${256 * 2 ** 20}\n` }
    expect(() => checkScryptMemory((path) => files[path])).toThrow(
      'a passphrase takes 400 MiB of memory, but the control group of this process allows 256 MiB',
    )
    files['/sys/fs/cgroup/memory.max'] = 'max\n'
    checkScryptMemory((path) => files[path])
  })
})

describe('restore writes nothing if there is', () => {
  test.each([
    ['a flipped byte', (bytes: Buffer) => void (bytes[1_000]! ^= 1), /damaged: a byte was changed/],
    ['a truncated backup', (bytes: Buffer) => bytes.subarray(0, 900), /damaged: a byte was changed/],
    ['a flipped byte in the header', (bytes: Buffer) => void (bytes[60]! ^= 1), /another key, or the beginning of the file is damaged/],
    ['another file instead of a backup', () => Buffer.from('hello'), /it is not an age file/],
  ])('%s', async (_name, spoil, problem) => {
    await backup('--to', recipient)
    const bytes = readFileSync(file)
    writeFileSync(file, spoil(bytes) ?? bytes)
    const before = list(around)
    const failed = await restore('--identity', identity)
    expect(failed).toEqual({ code: 1, out: '', err: expect.stringMatching(problem) as unknown as string })
    expect(failed.err).toContain('nothing was written')
    expect(await asfaleia(['backup', '--verify', file, '--identity', identity])).toMatchObject({ code: 1, out: '' })
    expect(list(around)).toEqual(before)
  })

  test('a full disk', async () => {
    await backup('--to', recipient)
    const before = list(around)
    // A file size limit of zero has the effect of a full disk for this process alone.
    const full = (...argv: string[]) => run(['sh', '-c', 'ulimit -f 0; exec "$@"', 'sh', ...ASFALEIA, ...argv])
    expect(await full('restore', file, '--identity', identity, '--to', join(around, 'new'))).toMatchObject({
      code: 1,
      stderr: `asfaleia: error: cannot write ${join(around, 'new')}: the disk is full\nasfaleia: hint: make room on the disk\n`,
    })
    const second = join(around, 'second.age')
    expect(await full('backup', '--service', folder, '--to', recipient, '--out', second)).toMatchObject({
      code: 1,
      stderr: `asfaleia: error: cannot write ${second}: the disk is full\nasfaleia: hint: make room on the disk\n`,
    })
    expect(list(around)).toEqual(before)
  })

  test('no parent folder', async () => {
    await backup('--to', recipient)
    const { code, err } = await asfaleia(['restore', file, '--identity', identity, '--to', join(around, 'no', 'new')])
    const problem = `cannot write ${join(around, 'no', 'new')}: there is no folder ${join(around, 'no')}`
    expect([code, err]).toEqual([1, `asfaleia: error: ${problem}\nasfaleia: hint: make the folder first, or name another one\n`])
  })
})

describe('backup of an incomplete service', () => {
  test.each<[string, () => void, RegExp]>([
    [
      'without its folder',
      () => rmSync(folder, { recursive: true }),
      /error: cannot read .*: no such file or folder\n.*hint: name tor's HiddenServiceDir/,
    ],
    [
      'with a file in its place',
      () => {
        rmSync(folder, { recursive: true })
        writeFileSync(folder, '')
      },
      /is not a folder\n.*hint:/,
    ],
    [
      'with a pipe in place of a file',
      () => {
        rmSync(join(folder, 'hostname'))
        execFileSync('mkfifo', [join(folder, 'hostname')])
      },
      /hostname is not a file of tor: it must be a regular file/,
    ],
    [
      'without its key',
      () => rmSync(join(folder, 'hs_ed25519_secret_key')),
      /is not the folder of an onion service: it has no hs_ed25519_secret_key\n.*hint:/,
    ],
    [
      'with a folder in place of a file',
      () => {
        rmSync(join(folder, 'hostname'))
        mkdirSync(join(folder, 'hostname'))
      },
      /hostname (?:is not a file of tor|: it is a folder)/,
    ],
    [
      'with a key of another address',
      () => writeFileSync(join(folder, 'hostname'), `${'a'.repeat(56)}.onion\n`),
      /the address does not belong to the secret key/,
    ],
  ])('is refused %s', async (_name, spoil, problem) => {
    spoil()
    const { code, out, err } = await backup('--to', recipient)
    expect({ code, out, err }).toEqual({ code: 1, out: '', err: expect.stringMatching(problem) as unknown as string })
    expect(existsSync(file)).toBe(false)
  })

  test("takes every client's file that tor takes, and names those that tor skips", async () => {
    const clients = join(folder, 'authorized_clients')
    const key = 'a'.repeat(51)
    for (const [name, text] of [
      ['bob@example.org', `descriptor:x25519:${key}b\r\n`],
      ['bob of the café', `  descriptor : x25519 : ${key}C \n`],
      ['.', CLIENT],
      ['skipped', 'x'],
      ['skipped-too', `descriptor:x25519:${key}\n`],
    ] as const)
      writeFileSync(join(clients, `${name}.auth`), text, { mode: 0o600 })
    mkdirSync(join(clients, 'folder.auth'))
    const skipped = (name: string): string =>
      `asfaleia: warning: authorized_clients/${name}.auth is left out: tor skips it, because it is not the file of a client\n`
    const { code, out, err } = await backup('--to', recipient)
    expect([code, out]).toEqual([0, `backed up ${ADDRESS}, with 4 authorized clients\n`])
    expect(err).toBe(skipped('folder') + skipped('skipped-too') + skipped('skipped'))
    expect((await restore('--identity', identity)).code).toBe(0)
    for (const name of ['folder', 'skipped', 'skipped-too']) rmSync(join(clients, `${name}.auth`), { recursive: true })
    expect(list(join(around, 'new'))).toEqual(list(folder))
  })

  test('warns if others may enter its folder', async () => {
    chmodSync(folder, 0o755)
    expect(await backup('--to', recipient)).toMatchObject({
      code: 0,
      err: `asfaleia: warning: other users may enter ${folder}; to keep them out: chmod 700 ${folder}\n`,
    })
  })

  test('reports if another user owns the keys', async () => {
    chmodSync(around, 0o755)
    if (!isRoot) chmodSync(folder, 0)
    const argv = ['backup', '--service', folder, '--to', recipient, '--out', file]
    const { code, stderr } = await run([
      ...(isRoot ? ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'] : []),
      ...ASFALEIA,
      ...argv,
    ])
    chmodSync(folder, 0o700)
    expect([code, stderr]).toEqual([
      1,
      `asfaleia: error: cannot read ${folder}: permission denied\nasfaleia: hint: run this as tor's user: on Debian \`sudo -u debian-tor …\`\n`,
    ])
  })

  test('restored by root belongs to the owner of the folder around it', async () => {
    await backup('--to', recipient)
    // Without root there is no ownership to give away.
    if (isRoot) chownSync(around, 65_534, 65_534)
    const { uid, gid } = statSync(around)
    expect(await restore('--identity', identity)).toMatchObject({ code: 0 })
    for (const path of ['', 'hostname', 'authorized_clients', 'authorized_clients/alice.auth']) {
      expect(statSync(join(around, 'new', path))).toMatchObject({ uid, gid })
    }
  })
})

test.each([
  [['backup'], /--out FILE or --verify FILE is missing/],
  [['backup', '--out', 'x'], /give either --to or --passphrase/],
  [['backup', '--out', 'x', '--passphrase', '--to', 'age1x'], /either --to or --passphrase/],
  [['backup', '--verify', 'x', '--out', 'y'], /--verify does not go together with/],
  [['backup', 'x'], /takes options only/],
  [['restore', 'x'], /--to FOLDER is missing/],
  [['restore', '--to', 'x'], /FILE is missing/],
])('%j is a usage error', async (argv, problem) => {
  const { code, err } = await asfaleia(argv)
  expect([code, err]).toEqual([2, expect.stringMatching(problem)])
})

test.each([
  ['age1nonsense', /--to is not an age recipient/],
  ['ssh-ed25519 AAAA', /the key is damaged or too weak/],
  ['/nowhere/key.pub', /cannot read the key file \/nowhere\/key.pub: no such file or folder/],
])('the recipient %j is refused, and nothing is written', async (given, problem) => {
  const { code, err } = await backup('--to', given)
  expect([code, err]).toEqual([1, expect.stringMatching(problem)])
  expect(existsSync(file)).toBe(false)
})

test('a private key as the recipient and an empty passphrase are refused', async () => {
  expect(await backup('--to', identity)).toMatchObject({ code: 1, err: expect.stringContaining('is an age identity') })
  const empty = await asfaleia(['backup', '--service', folder, '--out', file, '--passphrase'], { env: passphraseFile('\n') })
  expect(empty).toMatchObject({ code: 1, err: expect.stringContaining('the passphrase is empty') })
  expect(existsSync(file)).toBe(false)
})

test('restore reports a missing or unusable identity', async () => {
  await backup('--to', recipient)
  expect((await restore()).err).toContain('is encrypted to a key\nasfaleia: hint: name the file of the age identity')
  expect((await restore('--identity', file)).err).toContain('holds no age identity')
  expect((await restore('--identity', '/nowhere')).err).toContain('no such file or folder')
  const other = join(around, 'other')
  writeFileSync(other, 'AGE-SECRET-KEY-1DAMAGED\n', { mode: 0o600 })
  expect((await restore('--identity', other)).err).toContain('holds no age identity')
  writeFileSync(other, 'PuTTY-User-Key-File-3: ssh-ed25519\r\n', { mode: 0o600 })
  expect((await restore('--identity', other)).err).toMatch(/is a private key of PuTTY\n.*puttygen \S+other -O private-openssh/)
  writeFileSync(other, `\u{feff}${readFileSync(identity, 'utf8').replaceAll('\n', ' \r\n')}`, { mode: 0o600 })
  const restored = await restore('--identity', other)
  expect(restored).toMatchObject({ code: 0 })
  expect((await asfaleia(['restore', '/nowhere', '--to', 'x'])).err).toBe(
    'asfaleia: error: cannot read /nowhere: no such file or folder\nasfaleia: hint: check the path\n',
  )
})
