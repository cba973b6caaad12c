import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { formatFingerprint, parseKeyBlob, parsePublicKey, parseReceiver, type SshKey } from '../../../src/auth/ssh-key.ts'
import { encodeBase64 } from '../../../src/protocol/base64.ts'
import { ProtocolError } from '../../../src/protocol/errors.ts'
import { attempt, fail, same, type Target } from '../target.ts'

interface Vectors {
  readonly accept: readonly { readonly line: string }[]
  readonly refuse: readonly { readonly line: string }[]
}
const vectors = JSON.parse(readFileSync(join(import.meta.dirname, '../../vectors/keys.json'), 'utf8')) as Vectors

const isCoded = (error: unknown): boolean =>
  error instanceof ProtocolError && (error.code === 'bad-key' || error.code === 'unsupported-key')
const lineOf = ({ type, blob }: SshKey): string => `${type} ${encodeBase64(blob)}`

/** The input is a key's line, or after a NUL the blob of a key. */
export const target: Target = {
  name: 'ssh-key',
  covers: ['auth/ssh-key.ts', 'auth/ssh-wire.ts', 'auth/ed25519-point.ts', 'protocol/base64.ts'],
  seeds: () =>
    [...vectors.accept, ...vectors.refuse].flatMap(({ line }) => [
      line,
      Buffer.concat([Buffer.of(0), Buffer.from(line.split(' ')[1] ?? '', 'base64')]),
    ]),
  run(input) {
    const isBlob = input[0] === 0
    const parse = (check: 'full' | 'form'): SshKey => (isBlob ? parseKeyBlob(input.slice(1), check) : parsePublicKey(input, check))
    const full = attempt(() => parse('full'), isCoded)
    const form = attempt(() => parse('form'), isCoded)
    const receiver = isBlob ? undefined : attempt(() => parseReceiver(input.slice()), isCoded)
    if ('value' in full && !('value' in form)) fail('the full check is less strict than the form')
    if (!('value' in full)) return `${full.refused}, ${'value' in form ? 'good form' : form.refused}`
    const line = lineOf(full.value)
    const again = parsePublicKey(line)
    same('the key written and read', lineOf(again), line)
    same('its fingerprint', formatFingerprint(again.fingerprint), formatFingerprint(full.value.fingerprint))
    if (receiver !== undefined && !('value' in receiver)) fail('a good key is no receiver')
    return full.value.type
  },
}
