import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Stanza } from 'age-encryption'
import { HybridIdentity, hybridKey } from '../../../src/auth/age-hybrid.ts'
import { SshIdentity } from '../../../src/auth/age-ssh.ts'
import { parsePrivateKey } from '../../../src/auth/private-key.ts'
import { open, seal, sealTo } from '../../../src/client/format/envelope.ts'
import { attemptLater, bytesOf, latin1, type Target } from '../target.ts'

interface Vectors {
  readonly files: readonly { readonly name: string; readonly privateKey: string }[]
}
const vectors = JSON.parse(readFileSync(join(import.meta.dirname, '../../vectors/age.json'), 'utf8')) as Vectors
const keyOf = (wanted: string): ReturnType<typeof parsePrivateKey> =>
  parsePrivateKey(Buffer.from(vectors.files.find(({ name }) => name === wanted)!.privateKey))
const alice = keyOf('ed25519256')
const rsa = keyOf('rsa2048')
const hybrid = hybridKey(new Uint8Array(32).fill(7))
const identities = [new SshIdentity(alice), new HybridIdentity([hybrid]), new SshIdentity(rsa)]

/** The error of agessh for a malformed stanza; age-encryption hides every error behind its own. */
const isMalformed = (error: unknown): boolean =>
  error instanceof Error && /^malformed (?:ssh-ed25519|ssh-rsa|mlkem768x25519) stanza$/.test(error.message)

const file = async (key: typeof alice): Promise<Uint8Array> => seal(key.public, Buffer.from('text'))

/** Reads the stanzas of a header as lines `-> ARGUMENTS`, each followed by a line of base64. */
function readStanzas(text: string): Stanza[] {
  return text
    .split('-> ')
    .slice(1, 40)
    .map((part) => {
      const [args = '', ...body] = part.split('\n')
      return new Stanza(args.split(' '), Uint8Array.from(Buffer.from(body.join(''), 'base64')))
    })
}

/** After a NUL the input is a whole age file, otherwise a list of stanzas. */
export const target: Target = {
  name: 'age',
  covers: ['auth/age-ssh.ts', 'client/format/envelope.ts', 'auth/age-hybrid.ts', 'auth/unpadded.ts'],
  async seeds() {
    const files = [await file(alice), await sealTo(hybrid.recipient, Buffer.from('text')), await file(rsa)]
    const headers = files.map((each) => latin1(each).split('\n---')[0]!.replace('age-encryption.org/v1\n', ''))
    // A header that begins with another byte is for both keys.
    return [...files.map((each) => bytesOf(`\0${latin1(each)}`)), ...headers, headers.join('\n'), `x${headers.join('\n')}`]
  },
  async run(input) {
    if (input[0] === 0) {
      const text = await open({ opens: identities }, input.subarray(1))
      return text === undefined ? 'closed' : 'opened'
    }
    const stanzas = readStanzas(latin1(input))
    const outcomes: string[] = []
    // The operations of an RSA key are slow, so the search gets few of them.
    for (const identity of input[0] === 0x2d ? identities.slice(0, 2) : identities) {
      const outcome = await attemptLater(() => identity.unwrapFileKey(stanzas), isMalformed)
      outcomes.push('value' in outcome ? (outcome.value === null ? 'none' : `key of ${outcome.value.length}`) : 'malformed')
    }
    return outcomes.join(', ')
  },
}
