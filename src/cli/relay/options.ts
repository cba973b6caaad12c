/** The settings of the relay as options of `asfaleia relay` and `asfaleia doctor`. */
import { type Setting, type SettingKey, SETTING_KEYS, SETTINGS, variableOf } from '../../config/setting.ts'
import type { Option, Options } from '../program/page.ts'

export const SETTING_OPTIONS: Options = Object.fromEntries(SETTING_KEYS.map((key) => [key, describe(key)]))

/** The variables of the settings, for help texts. */
export const SETTING_VARIABLES = {
  'ASFALEIA_…': `the variable of an option of \`asfaleia relay\`, such as ${variableOf('per-circuit')} for --per-circuit`,
} as const

function describe(key: SettingKey): Option {
  const { value, about, fallback, takes, list }: Setting = SETTINGS[key]
  return {
    value,
    about: takes === undefined ? about : `${about}; ${takes}`,
    ...(fallback !== undefined && { fallback }),
    ...(list === true && { multiple: true }),
  }
}
