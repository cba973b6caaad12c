import { hybridKey } from '../../../src/auth/age-hybrid.ts'
import { BundleError, chooseBundle, judgeBundle, makeBundle, parseBundle } from '../../../src/client/format/bundle.ts'
import { sign } from '../../../src/client/format/signed.ts'
import { alice, NOW } from '../people.ts'
import { attemptLater, fail, latin1, same, type Target } from '../target.ts'

/** After a NUL the input is the text of a bundle that Alice signs, otherwise a bundle of hers. */
export const target: Target = {
  name: 'bundle',
  covers: ['client/format/bundle.ts', 'client/format/signed.ts'],
  longest: 3_000,
  async seeds() {
    const { text } = await makeBundle(alice, { encrypt: hybridKey(new Uint8Array(32)).recipient, now: NOW })
    const signed = latin1(text)
    return [text, `\0${signed.slice(0, signed.indexOf('-----BEGIN'))}`]
  },
  async run(input) {
    const isSigned = input[0] === 0
    let text: Uint8Array = input
    if (isSigned)
      text = await sign(alice, 'asfaleia-bundle', Uint8Array.from([...input.subarray(1), ...(input.at(-1) === 0x0a ? [] : [0x0a])]))
    const parsed = await attemptLater(
      () => parseBundle(alice.key, text),
      (error) => error instanceof BundleError,
    )
    if (!('value' in parsed)) return parsed.refused
    const bundle = parsed.value
    same('the text', latin1(bundle.text), latin1(text))
    if (bundle.until <= bundle.time) fail('a bundle ends before it begins')
    const judged = judgeBundle(bundle, NOW)
    if ((chooseBundle(bundle, undefined, NOW) !== undefined) !== (judged === 'good')) fail('a bundle that is not good is chosen')
    return judged
  },
}
