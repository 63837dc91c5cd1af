/** Written by `npm run catalogue:models` from @pydantic/genai-prices 0.1.8, prices of 2026-11-22; change the script instead. */
export const rows = [
  ["glm-4-air", "llm", "GLM-4-Air", 128000, "0.069", "0.069", "0.034"],
  ["glm-4-airx", "llm", "GLM-4-AirX", 8000, "1.379", "1.379", null],
  ["glm-4-assistant", "llm", "GLM-4-Assistant", 128000, "0.69", "0.69", null],
  ["glm-4-flashx-250414", "llm", "GLM-4-FlashX-250414", 128000, "0.014", "0.014", "0.007"],
  ["glm-4-long", "llm", "GLM-4-Long", 1000000, "0.138", "0.138", "0.069"],
  ["glm-4-plus", "llm", "GLM-4-Plus", 128000, "0.69", "0.69", "0.345"],
  ["glm-4.5-air", "llm", "GLM-4.5-Air", 128000, "0.11", "0.276", "0.022"],
  ["glm-4.7", "llm", "GLM-4.7", 200000, "0.276", "1.103", "0.055"],
  ["glm-4.7-flashx", "llm", "GLM-4.7-FlashX", 200000, "0.069", "0.414", "0.014"],
  ["glm-5", "llm", "GLM-5", 200000, "0.552", "2.483", "0.138"],
  ["glm-5-turbo", "llm", "GLM-5-Turbo", 200000, "0.69", "3.034", "0.166"],
  ["glm-5.1", "llm", "GLM-5.1", 200000, "0.828", "3.31", "0.179"],
  ["glm-5.2", "llm", "GLM-5.2", 1000000, "1.103", "3.862", "0.276"],
  ["glm-5.3", "llm", "GLM-5.3", 1000000, "1.103", "3.862", "0.276"],
  ["glm-5.3-flash", "llm", "GLM-5.3-Flash", 1000000, "0.055", "0.193", "0.016"],
] as const;
