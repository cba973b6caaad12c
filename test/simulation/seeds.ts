/** Seeds that found a defect once, each with the defect. They run before all new ones. */
export const NAMED: Readonly<Record<string, string>> = {}
