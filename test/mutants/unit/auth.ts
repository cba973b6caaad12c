/** Defects of keys, signatures, tokens and age files. */
import { type Defect, forTests } from '../defect.ts'

export const AUTH: readonly Defect[] = [
  ...forTests(
    'src/auth/token.ts',
    ['test/auth/token.test.ts'],
    [
      ['if (!this.#isSigned(token)) return undefined', '', 'A forged token reaches a parser.', 'The parser checks the signature again.'],
      ['if (!input.audiences.includes(aud)) return undefined', '', 'A token of another relay is good.'],
      ['token.length > MAX_TOKEN_BYTES || token', 'token', 'A token may be of any length.'],
      ['signature < 1 ||', '', 'A token that is shorter than a signature is compared.', 'The byte before it is no dot.'],
      ['exp - this.#shift', 'exp', 'The time of a token is shifted.'],
      ['isClaim: claim === true', 'isClaim: false', 'A claim is taken for a key.'],
      ["typeof sub !== 'string' || typeof aud", 'typeof aud', 'A token without a subject is good.'],
      [
        'const isSame = timingSafeEqual',
        'const isSame = true || timingSafeEqual',
        'A wrong signature passes the first check.',
        'The parser checks the signature again.',
      ],
      ['exp: seconds + this.#seconds', 'exp: seconds + this.#seconds + 1', 'A token is good for a second too long.'],
    ],
  ),
  ...forTests(
    'src/auth/sshsig.ts',
    ['test/auth/sshsig.test.ts'],
    [
      ['return sound && expected && isSame', 'return sound && isSame', 'A signature by any key is good.'],
      ['return sound && expected && isSame', 'return expected && isSame', 'A wrong signature is good.'],
      [
        'sound && expected && isSame(parsed.namespace, utf8.encode(input.namespace))',
        'sound && expected',
        'A signature for another purpose is good.',
      ],
      ["algorithm !== 'rsa-sha2-256' && algorithm !== 'rsa-sha2-512'", 'false', 'A signature with SHA-1 is good.'],
      ['(flags[0]! & needed) !== needed', '(flags[0]! & needed) === 0', 'A FIDO key that did not verify its user is good enough.'],
      [
        'USER_PRESENT | (mustVerify ? USER_VERIFIED : 0)',
        'mustVerify ? USER_VERIFIED : 0',
        'A FIDO key whose user was not present is good.',
      ],
      ['  reader.end()\n  return { key, namespace', '  return { key, namespace', 'A signature may have bytes behind its end.'],
      [
        'if (body.length !== 64) throw new WireError()',
        '',
        'An ed25519 signature may have any length.',
        'The verification refuses it, too.',
      ],
      ['namespace.length === 0 || reader.string().length > 0', 'reader.string().length > 0', 'A signature without a purpose is read.'],
      [
        'namespace.length === 0 || reader.string().length > 0',
        'namespace.length === 0 || reader.string().length > 9',
        'A signature with reserved bytes is good.',
      ],
      [
        'if (magnitude.length > bytes) throw new WireError()',
        '',
        'A number of an ECDSA signature may be too long.',
        'A negative length throws, too.',
      ],
      ['if (algorithm !== key.type) throw new WireError()', '', 'A signature names another algorithm than its key.'],
    ],
  ),
  ...forTests(
    'src/auth/age-ssh.ts',
    ['test/auth/age-ssh.test.ts'],
    [
      ['if (++tries > MOST_TRIES) return null', '', 'A sender makes the receiver try its key a thousand times.'],
      ['if (stanza.args[1] !== tag) continue', '', 'Every stanza is tried.'],
      ['fileKey.length === FILE_KEY_BYTES ? fileKey : null', 'fileKey', 'A file key may have any length.'],
      [
        'stanza.body.length !== material.modulus.length) continue',
        'false) continue',
        'A stanza of another RSA size is tried.',
        'The decryption refuses it, too.',
      ],
      [
        'concat(share, point), ED25519_LABEL)\n    return { args',
        'concat(point, share), ED25519_LABEL)\n    return { args',
        'Other programs cannot open a file.',
      ],
      ['key.fingerprint.subarray(0, 4)', 'key.fingerprint.subarray(0, 5)', 'A stanza’s tag has five bytes.'],
    ],
  ),
  ...forTests(
    'src/auth/age-chunk.ts',
    ['test/auth/age-ssh.test.ts', 'test/auth/age-hybrid.test.ts'],
    [
      ['plaintext.length > CHUNK_BYTES', 'plaintext.length >= CHUNK_BYTES', 'A plaintext that fills a chunk is refused.'],
      ["replace(/.{64}/g, '$&\\n')", "replace(/.{63}/g, '$&\\n')", 'The lines of a header are too short.'],
      ['  fileKey.fill(0)\n', '', 'A file key stays in memory.', 'Only a dump of the memory shows it.'],
    ],
  ),
  ...forTests(
    'src/auth/secret.ts',
    ['test/auth/secret.test.ts'],
    [
      ['field.length !== SECRET_DIGITS', 'field.length < SECRET_DIGITS', 'A secret may have more characters.'],
      ['&& (bits & 0b11) === 0', '', 'A secret has four spellings.'],
      ['    wrong |= digit\n', '', 'A secret may have any characters.'],
      ['  scratch.fill(0)\n', '', 'A secret stays in memory.', 'Only a dump of the memory shows it.'],
    ],
  ),
  ...forTests(
    'src/auth/ssh-wire.ts',
    ['test/auth/ssh-wire.test.ts', 'test/auth/ssh-key.test.ts'],
    [
      ['length > this.#bytes.length - this.#at', 'length > this.#bytes.length', 'A string may be longer than its blob.'],
      ['first === undefined || first >= 0x80', 'first === undefined || first > 0x80', 'A negative number is read.'],
      ['second === undefined || second < 0x80', 'second === undefined', 'A number has several spellings.'],
      ['if (!this.atEnd) throw new WireError()', '', 'A blob may have bytes behind its end.'],
      ['bytes[0]! >= 0x80 ?', 'bytes[0]! > 0x80 ?', 'A number with its highest bit is written as a negative one.'],
      ['return one.length === other.length && one.every', 'return one.every', 'A beginning is taken for the whole.'],
      [') >>> 0', ')', 'A length with its highest bit is negative.'],
    ],
  ),
  ...forTests(
    'src/auth/unpadded.ts',
    ['test/auth/age-ssh.test.ts', 'test/auth/age-hybrid.test.ts'],
    [["if (text.includes('=')) return undefined", '', 'A stanza may have padding.']],
  ),
]
