/** `asfaleia key`: makes an SSH key, or shows one. The relay never sees these files; ssh-keygen makes the same. */
import { rm } from 'node:fs/promises'
import { generatePrivateKey } from '../../auth/private-key.ts'
import { formatFingerprint, type SshKey } from '../../auth/ssh-key.ts'
import { parseCommandLine } from '../arguments.ts'
import { writeNew } from '../file.ts'
import { isPrivateKey, readKeyFile, readPublicKey, unlockPrivateKey } from '../keyfile.ts'
import { EXIT, formatJson, type Io, UsageError } from '../terminal.ts'

const USAGE = 'asfaleia key --out FILE, or asfaleia key FILE'

const HELP = `usage: ${USAGE}

Makes an ed25519 key: the private part in FILE, for nobody but you, and the public part in FILE.pub.
Nothing is ever written over. Without --out it shows the key in FILE, a private or a public one.

  --out FILE   where to write a new key
  --json       one JSON object on stdout
  -h, --help   this text
`

/** Whose key it is should not stand in it: ssh-keygen would write the user's and the machine's name. */
const COMMENT = 'asfaleia'

export async function run(argv: string[], io: Io): Promise<number> {
  const options = { out: { type: 'string' }, json: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } } as const
  const { values, positionals } = parseCommandLine(argv, options, USAGE)
  if (values.help === true) {
    io.stdout.write(HELP)
    return EXIT.ok
  }
  const { out } = values
  const [shown, ...more] = positionals
  if (more.length > 0 || (out === undefined) === (shown === undefined)) {
    throw new UsageError('either --out FILE or the FILE to show is wanted', { hint: USAGE })
  }
  const key = out === undefined ? await loadPublicPart(shown!, io) : await makeKey(out)
  const line = `${key.type} ${Buffer.from(key.blob).toString('base64')}`
  const fingerprint = formatFingerprint(key.fingerprint)
  const json = { public: line, fingerprint, ...(out !== undefined && { file: out }) }
  io.stdout.write(values.json === true ? `${formatJson(json)}\n` : `${line}\n${fingerprint}\n`)
  return EXIT.ok
}

async function loadPublicPart(path: string, io: Io): Promise<SshKey> {
  const file = await readKeyFile(path)
  if (isPrivateKey(file)) return (await unlockPrivateKey(file, path, io)).public
  return readPublicKey(file.bytes.toString('latin1'), path)
}

async function makeKey(path: string): Promise<SshKey> {
  const { file, public: line } = generatePrivateKey(COMMENT)
  await writeNew(path, file, 0o600)
  try {
    await writeNew(`${path}.pub`, `${line}\n`, 0o644)
  } catch (error) {
    await rm(path)
    throw error
  }
  return readPublicKey(line, 'the new key')
}
