import { describe, expect, it } from 'vitest'
import { formatInvite, type Invite, InviteError, parseInvite } from '../../../src/client/format/invite.ts'

const RELAY = '2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion'
const KEY = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567ABCDEFGHIJKLMNOPQRSA'
const PLAIN: Invite = { relay: RELAY, key: KEY, name: 'alice' }
const FULL: Invite = { ...PLAIN, name: 'Zoë & "Co", 50 %', until: 1_801_526_400, card: 'asfaleia:card/1?name=Op&key=AAAA&sig=x%20y' }
const LINK = formatInvite(PLAIN)

/** Returns the code of the error. */
function refusal(text: string): string {
  try {
    parseInvite(text)
  } catch (error) {
    if (error instanceof InviteError) return error.code
    throw error
  }
  return 'none'
}

describe('an invite', () => {
  it('is one link of the documented form', () => {
    expect(LINK).toMatch(new RegExp(`^asfaleia:invite/1:relay=${RELAY},key=${KEY},name=alice,check=[a-z2-7]{8}$`))
    expect(formatInvite(FULL)).toContain(
      ',name=Zo%C3%AB%20%26%20%22Co%22%2C%2050%20%25,until=2027-02-02T00:00:00Z,card=asfaleia:card%2F1%3Fname%3D',
    )
  })

  it('has no character that a shell takes', () => {
    for (const invite of [PLAIN, FULL]) expect(formatInvite(invite)).toMatch(/^[A-Za-z0-9._:\-=,/%]+$/)
  })

  it('is read back', () => {
    for (const invite of [PLAIN, FULL]) expect(parseInvite(formatInvite(invite))).toEqual(invite)
  })

  it('survives the way through mail: words around it, broken lines, quotes', () => {
    const link = formatInvite(FULL)
    const broken = link.match(/.{1,60}/g)!.join('\r\n>  ')
    expect(parseInvite(`Hello,\n> ${broken}.\nSee you!`)).toEqual(FULL)
  })

  it('that was cut off anywhere, or changed in one character, is refused', () => {
    const link = formatInvite(FULL)
    for (let length = 'asfaleia:invite/'.length; length < link.length; length++)
      expect([length, refusal(link.slice(0, length))]).toEqual([length, 'truncated'])
    for (let at = link.indexOf('relay'); at < link.length; at++) {
      const other = link[at] === 'b' ? 'c' : 'b'
      expect([at, refusal(link.slice(0, at) + other + link.slice(at + 1))]).toEqual([at, 'truncated'])
    }
  })

  it('of another form is refused without a word of it', () => {
    expect(refusal('')).toBe('not-an-invite')
    expect(refusal('asfaleia:card/1?name=a')).toBe('not-an-invite')
    expect(refusal(LINK.replace('/1:', '/2:'))).toBe('unknown-version')
    for (const wrong of [
      { ...PLAIN, relay: RELAY.replace('2', '3') },
      { ...PLAIN, relay: 'localhost' },
      { ...PLAIN, key: KEY.toLowerCase() },
      { ...PLAIN, key: KEY.slice(1) },
      { ...PLAIN, name: '' },
    ]) {
      expect([wrong, refusal(formatInvite(wrong))]).toEqual([wrong, 'malformed'])
    }
    expect(new InviteError('malformed').message).toBe('the invite is malformed')
  })
})
