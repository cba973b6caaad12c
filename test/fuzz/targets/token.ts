import { createHmac, createSecretKey } from 'node:crypto'
import { Tokens } from '../../../src/auth/token.ts'
import { bytesOf, fail, latin1, type Target } from '../target.ts'

const secret = createSecretKey(Buffer.alloc(32, 7))
const tokens = new Tokens({ secret, seconds: 3_600 })
const NOW = 1_795_000_000_000
const AUDIENCE = 'localhost'
const good = tokens.issue({ subject: 'mailbox', audience: AUDIENCE, now: NOW, id: 'x'.repeat(22) })

/**
 * The input is a token; or after a NUL a header, a space and claims, which the target signs as the relay would, so that
 * the search gets behind the signature.
 */
export const target: Target = {
  name: 'token',
  covers: ['auth/token.ts'],
  longest: 1_200,
  seeds() {
    const [header = '', claims = ''] = good.split('.').map((part) => Buffer.from(part, 'base64url').toString('latin1'))
    return [good, `\0${header} ${claims}`, `\0{"alg":"none"} ${claims}`, '\0{"alg":"HS256","crit":["x"]} {"exp":1e9}']
  },
  run(input) {
    const isMade = input[0] === 0
    let token = input.slice()
    if (isMade) {
      const [header = '', ...claims] = latin1(input.subarray(1)).split(' ')
      const signed = [header, claims.join(' ')].map((part) => Buffer.from(part, 'latin1').toString('base64url')).join('.')
      token = bytesOf(`${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`)
    }
    const claims = tokens.verify(token, { audiences: [AUDIENCE], now: NOW })
    if (claims === undefined) return isMade ? 'signed, and refused' : 'refused'
    if (!isMade && latin1(token) !== good) fail('a forged token is accepted')
    if (claims.expires <= NOW || !Number.isSafeInteger(claims.expires)) fail(`an accepted token expires at ${claims.expires}`)
    return 'accepted'
  },
}
