// Tools in OpenAI's format, as a person types them.

export const EXAMPLE = [{
  type: "function",
  function: {
    name: "get_weather",
    description: "The weather in a city now.",
    parameters: {type: "object", properties: {city: {type: "string"}}, required: ["city"]},
  },
}];

// The list of tools; an error says what to change.
export function readTools(text) {
  if (!text.trim()) return [];
  let tools;
  try { tools = JSON.parse(text); } catch (error) { throw new Error("This is not JSON: " + error.message); }
  if (Array.isArray(tools?.tools)) tools = tools.tools;
  if (!Array.isArray(tools)) throw new Error("A list is expected: [{\"type\": \"function\", \"function\": {…}}].");
  const names = new Set();
  tools.forEach((tool, i) => {
    const where = `Tool ${i + 1}`, isObject = value => value && typeof value === "object" && !Array.isArray(value);
    if (!isObject(tool)) throw new Error(`${where} is no object.`);
    if (tool.type !== "function") throw new Error(`${where} needs "type": "function".`);
    if (!isObject(tool.function)) throw new Error(`${where} needs "function": {"name": …, "parameters": …}.`);
    const {name, description, parameters} = tool.function;
    if (typeof name !== "string" || !name) throw new Error(`${where} needs a "name" within its "function".`);
    if (!/^[\w.-]{1,64}$/.test(name)) throw new Error(`${where}: “${name}” may have letters, digits, _, . and - only, 64 at most.`);
    if (names.has(name)) throw new Error(`${where}: there is another “${name}”.`);
    names.add(name);
    if (description !== undefined && typeof description !== "string") throw new Error(`${where}: "description" must be a text.`);
    if (parameters !== undefined && !isObject(parameters)) throw new Error(`${where}: "parameters" must be a JSON schema, {"type": "object", …}.`);
  });
  return tools;
}
