include $(sort $(wildcard $(BR2_EXTERNAL_AZREADY_PATH)/package/*/*.mk))
